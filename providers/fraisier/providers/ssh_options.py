"""How a host is reached over SSH: what a target, a proxy's host and an engine's host have in common."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fraisier.providers.duration import Duration

SSH_CONFIG = Path("~/.ssh/config")
"""The configuration of OpenSSH, read where there is one."""

TAKEN_OVER = ("username", "key_path", "agent", "known_hosts", "ssh_config", "connect_timeout")
"""What a jump host has of the host behind it, unless it says otherwise."""


class SshLogin(BaseModel):
    """How a host is entered, whichever it is.

    Attributes:
        key_path: the private key, with its certificate beside it (``<key>-cert.pub``) where there is one; what
            `ssh_config` says, else the usual ones in ``~/.ssh``, unless given.
        agent: ask the worker's SSH agent for keys too.
        known_hosts: the file that holds the host's key, or the authority that signed it (``@cert-authority``). There
            is no way to go without.
        ssh_config: OpenSSH's configuration on the worker, for aliases, users, ports, keys and jump hosts. The usual
            one is read where there is one; None reads none. What is given here goes before what stands there.
        connect_timeout: how long the host may take to let us in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_path: Path | None = None
    agent: bool = False
    known_hosts: Path = Path("~/.ssh/known_hosts")
    ssh_config: Path | None = SSH_CONFIG
    connect_timeout: Duration = timedelta(seconds=10)


class SshHop(SshLogin):
    """Where a host is, and as whom it is entered; beside that what `SshLogin` says.

    Attributes:
        host: its name or address, or an alias of `ssh_config`.
        port: its SSH port; what `ssh_config` says, else 22, unless given.
        username: who logs in; what `ssh_config` says, else the worker's own user, unless given.
    """

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    username: str | None = None


def _as_mapping(hop: Any) -> Any:
    return {"host": hop} if isinstance(hop, str) else hop


Jump = Annotated[SshHop, BeforeValidator(_as_mapping, json_schema_input_type=str | SshHop)]


class SshOptions(SshHop):
    """A host, and the way to it.

    Attributes:
        jump: the hosts in between, the first one first, each by its name or with keys of its own; what it does not say
            is as for the host itself, but for the port. Each must be known as the host must. Unless given, the
            ``ProxyJump`` of `ssh_config`.
    """

    jump: tuple[Jump, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _hops_take_over(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("jump"), list | tuple):
            return values
        own = {name: values[name] for name in TAKEN_OVER if name in values}
        return {**values, "jump": [_hop(own, one) for one in values["jump"]]}


def _hop(own: dict[str, Any], hop: Any) -> Any:
    """A hop with what it takes over.

    >>> _hop({"username": "deploy"}, "bastion")
    {'username': 'deploy', 'host': 'bastion'}
    """
    hop = _as_mapping(hop)
    return {**own, **hop} if isinstance(hop, dict) else hop
