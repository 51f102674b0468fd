"""Secrets by reference: the worker reads them, and nobody else is told."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from fraisier.providers.docker.options import DockerOptions
from fraisier.providers.errors import SecretMissing
from fraisier.providers.secrets import resolved, unreadable


def environment(**values: object) -> dict[str, object]:
    return DockerOptions.model_validate({"env": values}).env


def read(**values: object) -> dict[str, str]:
    return resolved(environment(**values), target="engine", step="stage")


def test_values_and_references_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("API_TOKEN", "from the environment")
    (tmp_path / "password").write_text("from a file; $HOME 'and' more\n\n")
    env = environment(
        PLAIN="env:API_TOKEN", TOKEN={"secret": "env:API_TOKEN"}, PASSWORD={"secret": f"file:{tmp_path}/password"}
    )
    assert unreadable(env) == []
    assert resolved(env, target="engine", step="stage") == {
        "PLAIN": "env:API_TOKEN",
        "TOKEN": "from the environment",
        "PASSWORD": "from a file; $HOME 'and' more\n",
    }
    assert "from" not in repr(env)


def test_those_that_are_not_there_are_all_named_by_their_reference(tmp_path: Path):
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(SecretMissing) as missing:
        read(
            A={"secret": "env:NOT_SET_ANYWHERE"},
            B={"secret": f"file:{tmp_path}/none"},
            C={"secret": f"file:{tmp_path}/binary"},
        )
    assert str(missing.value) == (
        "engine: the secret A (env:NOT_SET_ANYWHERE) is not there: the worker's environment has no NOT_SET_ANYWHERE; "
        f"the secret B (file:{tmp_path}/none) is not there: the worker cannot read {tmp_path}/none: "
        f"No such file or directory; the secret C (file:{tmp_path}/binary) is not there: "
        f"the worker cannot read {tmp_path}/binary: it is no text"
    )


def test_what_may_wait_for_ever_or_has_no_end_is_refused_unread(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_text("ü" * 32769)
    (tmp_path / "just").write_text("x" * 65536)
    files = {"A": f"{tmp_path}/fifo", "B": "/dev/zero", "C": f"{tmp_path}", "D": f"{tmp_path}/large"}
    found = unreadable(environment(**{name: {"secret": f"file:{path}"} for name, path in files.items()}))
    assert [one.rpartition(": ")[2] for one in found] == [
        f"{tmp_path}/fifo is no regular file",
        "/dev/zero is no regular file",
        f"{tmp_path} is no regular file",
        f"{tmp_path}/large holds more than 64 KB",
    ]
    assert unreadable(environment(E={"secret": f"file:{tmp_path}/just"})) == []


@pytest.mark.parametrize("value", [8080, True, None, {"secret": "vault:x"}, {"secret": "env:A B"}, {"sceret": "env:A"}])
def test_what_is_neither_is_refused_with_both_forms(value: object):
    with pytest.raises(ValidationError, match=r'must be text in quotes, \{secret: "env:NAME"\} or'):
        environment(PORT=value)


@pytest.mark.parametrize("name", ["", "A B", "A=B", "1A"])
def test_a_name_that_no_environment_can_hold_is_refused(name: str):
    with pytest.raises(ValidationError):
        environment(**{name: "x"})
