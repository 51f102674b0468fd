"""What a command writes is without secrets, however it comes in parts."""

import sys

import pytest

from fraisier.providers.masking import Masking

SECRETS = ("sesame", "mesa", "password", "pass", "zwei\nZeilen", "aab", "geheimnißvoll")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("open sesame, open", "open ***, open"),
        ("pass password passwort sesamesa", "*** *** ***wort ***sa"),
        ("aaab ab zwei\nZeilen zwei", "a*** ab *** ***"),
        ("geheimnißvoll geheimniß", "*** ***"),
        ("nothing of it at all", "nothing of it at all"),
        ("pas", "pas"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_the_parts_make_no_difference(written: str, shown: str, size: int):
    masking, raw = Masking(SECRETS), written.encode()
    parts = [masking.part(raw[begin : begin + size]) for begin in range(0, len(raw), size)]
    assert (b"".join(parts) + masking.rest()).decode() == shown


def test_a_large_one_is_compared_only_where_it_may_begin():
    masking, looks = Masking(("!" + "x" * 65536,)), []
    sys.setprofile(lambda _frame, event, _what: looks.append(event))
    try:
        shown = [masking.part(part) for part in (b"x" * 4096, b"!" + b"x" * 4096, b"x" * 61440, b"!")]
    finally:
        sys.setprofile(None)
    assert b"".join([*shown, masking.rest()]) == b"x" * 4096 + b"***!"
    assert len(looks) < 1000


def test_what_may_become_a_secret_is_kept_back():
    masking = Masking(("sesame",))
    assert [masking.part(part) for part in (b"key ses", b"am", b"pel, ", b"sesame")] == [
        b"key ",
        b"",
        b"sesampel, ",
        b"***",
    ]
