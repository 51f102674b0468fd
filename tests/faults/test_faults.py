"""A part of ``make faults`` that is always the same, in every test run: rollouts survive what breaks around them."""

import asyncio
import re
import sys

import pytest

from tests.faults import __main__ as faults
from tests.faults.ground import ROOT
from tests.faults.invariants.check import INVARIANTS
from tests.faults.matrix import ROWS

CHOSEN = ("worker-kill", "nats-stop")
AT_ONCE = 5


def test_every_row_and_invariant_is_told_of():
    text = (ROOT / "docs" / "faults.md").read_text()
    assert [name for name in ROWS if f"| `{name}` |" not in text] == []
    assert [number for number in INVARIANTS if f"| {number} |" not in text] == []


@pytest.mark.parametrize(
    "asked", ["--rounds 0", "--rounds -1", "--at-once 0", "--soak 0", "--soak -1", "--soak nan", "no-such-row"]
)
def test_what_cannot_be_meant_is_refused(asked: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["faults", *asked.split()])
    with pytest.raises(SystemExit, match="2"):
        faults.arguments()


def test_a_row_that_was_asked_for_is_not_left_out_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["faults", "none", "sshd-kill"])
    monkeypatch.setenv(faults.APART, "1")
    monkeypatch.setattr(faults, "find_sshd", lambda: None)
    monkeypatch.setattr(faults, "_run", lambda *_: pytest.fail("it played"))
    with pytest.raises(SystemExit, match="2"):
        faults.main()
    assert "sshd-kill cannot be played: it needs sshd" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_rollouts_survive_what_breaks_around_them_at_their_places():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults", *CHOSEN, "--seed", "1", "--at-once", str(AT_ONCE),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
    )  # fmt: skip
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    runs, injected, violations = re.findall(r"^all +(\d+) +(\d+) +(\d+)", told, re.MULTILINE)[0]
    assert (int(runs), int(violations)) == (len(CHOSEN), 0)
    assert int(injected) > len(CHOSEN) * AT_ONCE // 2, told
