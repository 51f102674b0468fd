"""What a validation found, in the words of people who write manifests."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from fraisier.workflows.manifest.patterns import FORMS

_WORDS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "missing": lambda _, __: "is missing",
    "too_short": lambda _, __: "must not be empty",
    "string_too_short": lambda _, __: "must not be empty",
    "string_too_long": lambda given, limits: f"must have {limits['max_length']} characters at most, not {len(given)}",
    "string_pattern_mismatch": lambda _, limits: _form(limits["pattern"]),  # never what is given: it may be a secret
    "int_parsing": lambda given, _: f"must be a whole number, not {given!r}",
    "int_type": lambda given, _: f"must be a whole number, not {given!r}",
    "int_from_float": lambda given, _: f"must be a whole number, not {given!r}",
    "bool_parsing": lambda given, _: f"must be true or false, not {given!r}",
    "string_type": lambda given, _: f"must be text, not {given!r}; put it in quotes",
    "greater_than_equal": lambda given, limits: f"must be {limits['ge']} or more, not {given!r}",
    "greater_than": lambda given, limits: f"must be more than {limits['gt']}, not {given!r}",
    "less_than_equal": lambda given, limits: f"must be {limits['le']} or less, not {given!r}",
    "list_type": lambda given, _: f"must be a list, not {given!r}",
    "tuple_type": lambda given, _: f"must be a list, not {given!r}",
    "dict_type": lambda given, _: f"must be a mapping of keys to values, not {given!r}",
    "model_type": lambda given, _: f"must be a mapping of keys to values, not {given!r}",
}
"""By pydantic's type of error. What stands in a manifest may be shown: secrets in it are references."""


def in_words(error: ErrorDetails, known: Sequence[str] = ()) -> str:
    """One error of a validation as a sentence that goes on after the key.

    Args:
        error: as pydantic tells it.
        known: for an unknown key, the keys that could have been meant.
    """
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        return unknown_key(str(error["loc"][-1]), known)
    if kind in ("enum", "literal_error"):
        expected = str(error["ctx"]["expected"])
        choices = [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]
        return f"must be {expected}, not {given!r}{_nearest(str(given), choices, tell=False)}"
    if kind in _WORDS:
        return _WORDS[kind](given, error.get("ctx", {}))
    return error["msg"].removeprefix("Value error, ")


def unknown_key(key: str, known: Sequence[str]) -> str:
    """That a key is unknown, with the nearest of those that could have been meant."""
    return f"unknown key{_nearest(key, known)}"


def _form(pattern: str) -> str:
    return FORMS.get(pattern, f"must match {pattern}")  # a plug-in's options have patterns of their own


def _nearest(key: str, known: Sequence[str], *, tell: bool = True) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known here: {', '.join(known)}" if tell and known else ""
