"""What a manifest may say about a bare-metal target."""

from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from fraisier.providers.duration import Duration
from fraisier.providers.models import UNIT, Model
from fraisier.providers.secrets import Environment
from fraisier.providers.ssh_options import SshOptions

Command = tuple[str, ...]


def _inside(path: str) -> str:
    """A path below a release's folder, in its plainest form.

    >>> _inside("var//log/")
    'var/log'
    """
    plain = PurePosixPath(path)
    if path.startswith("/") or ".." in plain.parts or not plain.parts or any(ord(one) < ord(" ") for one in path):
        raise ValueError("give a path below the release's folder, such as var/log")
    return str(plain)


Inside = Annotated[str, AfterValidator(_inside)]


class Shared(Model):
    """What all releases of a service have in common. It stays in ``<root>/shared``, and each release has a link to it.

    Attributes:
        folders: made where they are not there.
        files: must be there, which preflight looks at.
    """

    folders: tuple[Inside, ...] = ()
    files: tuple[Inside, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> "Shared":
        paths = [PurePosixPath(one) for one in (*self.folders, *self.files)]
        for place, path in enumerate(paths):
            if path in paths[:place] or any(other in path.parents for other in paths):
                raise ValueError(f"{path} is shared twice, by itself or with the folder that it is in")
        return self


class BareMetalOptions(SshOptions):
    """The options of a bare-metal target, beside those of `SshOptions`.

    Attributes:
        root: the folder on the host that holds the service's releases; ``/opt/<service>`` unless given.
        service_unit: the systemd unit that runs the service out of ``<root>/current``.
        scope: whose manager runs the unit: ``system``, or the ``user`` who logs in, who must linger.
        sudo: use ``sudo -n`` for the unit and for `units`.
        units: a folder in the artifact whose units, and folders of drop-ins, come and go with the release: systemd
            has links to them through ``<root>/current``. Sockets, timers and paths in it are started too.
        shared: folders and files that releases have in common.
        env: environment variables of a release: a value, or ``{secret: "env:NAME"}`` or ``{secret: "file:/path"}``,
            read where the worker runs when the release is staged. They are in ``<root>/current/fraisier.env``, which
            only the user who logs in may read: the unit's ``EnvironmentFile``. The command pair has them.
        start_command: starts the service and returns, on hosts without systemd. Runs in `root`. A release keeps
            the pair that it was activated with, and a rollback to it uses that.
        stop_command: stops it; succeeds when it does not run. Runs in `root`.
        keep_releases: how many releases stay on the host, the running one included.
        step_timeout: how long one step may take on the host, the upload included.
    """

    root: str | None = None
    service_unit: str | None = Field(default=None, pattern=UNIT)
    scope: Literal["system", "user"] = "system"
    sudo: bool = False
    units: Inside | None = None
    shared: Shared = Shared()
    env: Environment = Field(default_factory=dict)
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
        if self.service_unit is None and (self.units is not None or self.scope == "user"):
            raise ValueError(f"{'scope: user' if self.units is None else 'units'} needs service_unit")
        if self.scope == "user" and self.sudo:
            raise ValueError("a user's own units need no sudo: leave it out, or scope")
        if self.start_command == () or self.stop_command == ():
            raise ValueError("a command is a list with at least the program in it")
        return self
