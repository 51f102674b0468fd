"""What a manifest may say about the proxies in front of a region's targets."""

from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fraisier.providers.duration import Duration
from fraisier.providers.loopback import is_loopback
from fraisier.providers.models import Model
from fraisier.providers.ssh_options import SshOptions

UNIX = "unix:"
ADDRESS = r"^[^\s:/]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$"
NAME = r"^[A-Za-z0-9_.:-]+$"
"""What HAProxy allows in names."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _no_password_in_the_url(url: str) -> str:
    if urlsplit(url).username is not None:
        raise ValueError("must not hold a password: Caddy's admin API has none; reach it over ssh")
    return url


Socket = Annotated[str, Field(pattern=rf"^unix:/.+$|{ADDRESS}")]
Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$"), AfterValidator(_no_password_in_the_url)]


class HaproxyTraffic(Model):
    """HAProxy's runtime API.

    Attributes:
        sockets: the admin sockets of all proxies in front of the region, ``unix:/path`` or ``host:port``.
        backend: the backend that the targets are servers of.
    """

    sockets: Annotated[
        tuple[Socket, ...],
        Field(min_length=1),
        BeforeValidator(_listed, json_schema_input_type=Socket | tuple[Socket, ...]),
    ]
    backend: Annotated[str, Field(pattern=NAME)]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The sockets' hosts, for those that are reached by TCP."""
        return tuple(one.rpartition(":")[0].strip("[]") for one in self.sockets if not one.startswith(UNIX))


class CaddyTraffic(Model):
    """Caddy's admin API.

    Attributes:
        admin: the admin addresses of all proxies in front of the region, such as ``http://127.0.0.1:2019``.
        upstreams: where the ``reverse_proxy``'s upstreams stand in Caddy's configuration (``caddy adapt`` shows it),
            such as ``apps/http/servers/srv0/routes/0/handle/0/upstreams``.
    """

    admin: Annotated[
        tuple[Url, ...], Field(min_length=1), BeforeValidator(_listed, json_schema_input_type=Url | tuple[Url, ...])
    ]
    upstreams: Annotated[str, Field(pattern=r"^apps/[A-Za-z0-9_./-]+/upstreams$")]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The hosts of those that are reached without TLS."""
        parts = (urlsplit(one) for one in self.admin)
        return tuple(one.hostname or "" for one in parts if one.scheme == "http")


class CaddyFilesTraffic(Model):
    """Files that Caddy looks for at each request, so that nothing of its configuration changes.

    Attributes:
        folder: the folder on the proxy's host that holds a file for each server in traffic, called as the server is.
    """

    folder: Annotated[str, Field(pattern=r"^/[^\n]*[^/\n]$")]

    @property
    def addresses(self) -> tuple[str, ...]:
        """None: the files are reached as a host is."""
        return ()


Argv = Annotated[tuple[str, ...], Field(min_length=1)]


class CommandTraffic(Model):
    """Two commands for any other proxy. ``{server}`` in an argument stands for the server's name.

    Attributes:
        drain: takes the server out of traffic and returns when its requests have ended.
        undrain: puts it back and returns when it gets requests.
    """

    drain: Argv
    undrain: Argv

    @property
    def addresses(self) -> tuple[str, ...]:
        """None: how the commands reach their proxies is theirs."""
        return ()


class Traffic(Model):
    """How a region's targets are taken out of traffic and put back. Exactly one driver is given.

    Attributes:
        haproxy: by HAProxy's runtime API.
        caddy: by Caddy's admin API. Each change closes the connections that clients keep.
        caddy_files: by files that Caddy looks for at each request. No connection is closed.
        command: by commands.
        servers: what the proxy calls a target, by target: a server of HAProxy, ``host:port`` of an upstream of Caddy.
            The target's own name unless given.
        ssh: the host from which the proxies are reached, and on which commands run; the worker unless given.
        drain_timeout: how long a target's requests may take to end; those that take longer are cut.
        undrain_timeout: how long a proxy may take to see a healthy target as healthy.
    """

    haproxy: HaproxyTraffic | None = None
    caddy: CaddyTraffic | None = None
    caddy_files: CaddyFilesTraffic | None = None
    command: CommandTraffic | None = None
    servers: dict[str, Annotated[str, Field(pattern=NAME)]] = Field(default_factory=dict)
    ssh: SshOptions | None = None
    drain_timeout: Duration = timedelta(seconds=30)
    undrain_timeout: Duration = timedelta(seconds=30)

    @model_validator(mode="after")
    def _one_driver(self) -> "Traffic":
        drivers = {
            "haproxy": self.haproxy,
            "caddy": self.caddy,
            "caddy_files": self.caddy_files,
            "command": self.command,
        }
        given = [name for name, driver in drivers.items() if driver is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(drivers)}, not {' and '.join(given) or 'none'}")
        driver = drivers[given[0]]
        open_to_all = [one for one in (driver.addresses if driver else ()) if not is_loopback(one)]
        if open_to_all and self.ssh is None:
            raise ValueError(
                f"{open_to_all[0]} would be reached in the clear, where nothing asks for a password: "
                "let the proxy listen on 127.0.0.1 or a unix socket and reach it with ssh"
            )
        return self

    def server(self, target: str) -> str:
        """What the proxy calls a target."""
        return self.servers.get(target, target)
