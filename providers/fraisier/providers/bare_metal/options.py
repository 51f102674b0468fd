"""What a manifest may say about a bare-metal target."""

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fraisier.providers.duration import Duration

Command = tuple[str, ...]


class BareMetalOptions(BaseModel):
    """The options of a bare-metal target.

    Attributes:
        host: its name or address.
        port: its SSH port.
        username: who logs in; the worker's own user unless given.
        key_path: the private key; unless given, the usual ones in ``~/.ssh``.
        agent: ask the worker's SSH agent for keys too.
        known_hosts: the file that holds the host's key. There is no way to go without.
        root: the folder on the host that holds the service's releases; ``/opt/<service>`` unless given.
        service_unit: the systemd unit that runs the service out of ``<root>/current``.
        sudo: use ``sudo -n`` for the unit.
        start_command: starts the service and returns, on hosts without systemd. Runs in `root`.
        stop_command: stops it; succeeds when it does not run. Runs in `root`.
        keep_releases: how many releases stay on the host, the running one included.
        connect_timeout: how long the host may take to let us in.
        step_timeout: how long one step may take on the host, the upload included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1)
    port: int = Field(default=22, ge=1, le=65535)
    username: str | None = None
    key_path: Path | None = None
    agent: bool = False
    known_hosts: Path = Path("~/.ssh/known_hosts")
    root: str | None = None
    service_unit: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$")
    sudo: bool = False
    start_command: Command | None = None
    stop_command: Command | None = None
    keep_releases: int = Field(default=3, ge=2)
    connect_timeout: Duration = timedelta(seconds=10)
    step_timeout: Duration = timedelta(minutes=10)

    @field_validator("root")
    @classmethod
    def _absolute(cls, root: str | None) -> str | None:
        if root is not None and (not root.startswith("/") or root.strip("/") == "" or "\n" in root):
            raise ValueError("give an absolute folder of the service's own, such as /opt/api")
        return root

    @model_validator(mode="after")
    def _one_way_to_run(self) -> "BareMetalOptions":
        if (self.start_command is None) != (self.stop_command is None):
            raise ValueError("start_command and stop_command go together")
        if self.service_unit is not None and self.start_command is not None:
            raise ValueError("give either service_unit or start_command and stop_command, not both")
        if self.start_command == () or self.stop_command == ():
            raise ValueError("a command is a list with at least the program in it")
        return self
