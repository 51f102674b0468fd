"""Secrets by reference: a manifest says where a value is, and the worker at the target reads it there."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from fraisier.providers.errors import SecretMissing
from fraisier.providers.models import Model

MOST = 64 * 1024
"""How large a secret's file may be, in bytes: no environment takes much more."""


class SecretRef(Model):
    """Where a secret is: what a manifest, an event, a history and an error may know of it.

    Attributes:
        secret: ``env:NAME``, a variable of the worker's environment, or ``file:/path``, a regular file of at most 64
            KB that the worker may read; one newline at its end is not part of the value.
    """

    secret: Annotated[str, Field(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\x00]+)$")]

    def resolve(self) -> str:
        """Read the value.

        Raises:
            LookupError: it is not there, for the reason given.
        """
        value = self._read()
        if "\0" in value:
            raise LookupError("it holds a NUL, which no environment can")
        return value

    def _read(self) -> str:
        kind, place = self.secret.split(":", 1)
        if kind == "env":
            if place not in os.environ:
                raise LookupError(f"the worker's environment has no {place}")
            return os.environ[place]
        try:
            return _text_of(Path(place)).removesuffix("\n")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise LookupError(f"the worker cannot read {place}: {why}") from None


def _text_of(path: Path) -> str:
    """The text of a regular file. What may wait for ever or has no end is not even opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise LookupError(f"{path} is no regular file")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8") as file:
        text = file.read(MOST + 1)
    if len(text.encode()) > MOST:
        raise LookupError(f"{path} holds more than {MOST // 1024} KB")
    return text


def _understood(value: Any) -> str | SecretRef:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("must not hold a NUL, which no environment can")
    if isinstance(value, str | SecretRef):
        return value
    try:
        return SecretRef.model_validate(value)
    except ValidationError:
        raise ValueError(
            f'must be text in quotes, {{secret: "env:NAME"}} or {{secret: "file:/path"}}, not {value!r}'
        ) from None


Environment = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")],
    Annotated[str | SecretRef, BeforeValidator(_understood)],
]
"""Environment variables of a service: values, and secrets by reference."""


def unreadable(environment: Mapping[str, str | SecretRef]) -> list[str]:
    """Why some of the secrets cannot be read, one sentence each."""
    found = []
    for name, value in environment.items():
        try:
            _value(value)
        except LookupError as error:
            found.append(f"the secret {name} ({getattr(value, 'secret', '')}) is not there: {error.args[0]}")
    return found


def resolved(environment: Mapping[str, str | SecretRef], *, target: str, step: str) -> dict[str, str]:
    """All values, read now.

    Raises:
        SecretMissing: one is not there.
    """
    missing = unreadable(environment)
    if missing:
        raise SecretMissing(f"{target}: {'; '.join(missing)}", target=target, step=step)
    return {name: _value(value) for name, value in environment.items()}


def _value(value: str | SecretRef) -> str:
    return value.resolve() if isinstance(value, SecretRef) else value
