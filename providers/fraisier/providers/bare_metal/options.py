"""What a manifest may say about a bare-metal target."""

from datetime import timedelta

from pydantic import Field, field_validator, model_validator

from fraisier.providers.duration import Duration
from fraisier.providers.models import UNIT
from fraisier.providers.ssh_options import SshOptions

Command = tuple[str, ...]


class BareMetalOptions(SshOptions):
    """The options of a bare-metal target, beside those of `SshOptions`.

    Attributes:
        root: the folder on the host that holds the service's releases; ``/opt/<service>`` unless given.
        service_unit: the systemd unit that runs the service out of ``<root>/current``.
        sudo: use ``sudo -n`` for the unit.
        start_command: starts the service and returns, on hosts without systemd. Runs in `root`. A release keeps
            the pair that it was activated with, and a rollback to it uses that.
        stop_command: stops it; succeeds when it does not run. Runs in `root`.
        keep_releases: how many releases stay on the host, the running one included.
        step_timeout: how long one step may take on the host, the upload included.
    """

    root: str | None = None
    service_unit: str | None = Field(default=None, pattern=UNIT)
    sudo: bool = False
    start_command: Command | None = None
    stop_command: Command | None = None
    keep_releases: int = Field(default=3, ge=2)
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
