"""How a host is reached over SSH: what a target, and a proxy's host, have in common."""

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from fraisier.providers.duration import Duration


class SshOptions(BaseModel):
    """Where a host is, and as whom it is entered.

    Attributes:
        host: its name or address.
        port: its SSH port.
        username: who logs in; the worker's own user unless given.
        key_path: the private key; unless given, the usual ones in ``~/.ssh``.
        agent: ask the worker's SSH agent for keys too.
        known_hosts: the file that holds the host's key. There is no way to go without.
        connect_timeout: how long the host may take to let us in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1)
    port: int = Field(default=22, ge=1, le=65535)
    username: str | None = None
    key_path: Path | None = None
    agent: bool = False
    known_hosts: Path = Path("~/.ssh/known_hosts")
    connect_timeout: Duration = timedelta(seconds=10)
