"""Makes what a production cluster and its clients prove themselves with: certificates, NKeys, and the nodes' files.

Run again it renews every certificate, and keeps every key and the nodes' host names:

    .venv/bin/python infra/nats/make_credentials.py credentials --region us-east-1 --region eu-west-1

What it writes, and who gets it, stands in docs/production.md.
"""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Annotated

import nkeys
import typer
from certificates import CLIENT, SERVER, authority_certificate, new_key, signed_certificate

ROLES = ("admin", "installer", "orchestrator", "handlers", "watchers", "approvers", "freezers", "system")
NODES = ("nats-1", "nats-2", "nats-3")
WHOLE_ROLLOUT = "global"
"""What stands for a region in the subjects of a rollout's own events."""

CLUSTER_PORT = 6222
MOUNTED_AT = Path("/etc/nats/node")
DATA = Path("/data")
TEMPLATES = Path(__file__).parent

_REGION = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NODE = re.compile(r"([A-Za-z0-9-]+)(?:=([^,]+(?:,[^,]+)*))?")


def main(
    folder: Annotated[Path, typer.Argument(help="Where everything is written; made when it is not there.")],
    region: Annotated[list[str] | None, typer.Option(help="A region that shall have a key; repeatable.")] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(help="A node, or a node and its host names: nats-1=nats-1.example,10.0.0.1; repeatable."),
    ] = None,
    mounted_at: Annotated[Path, typer.Option(help="Where each node finds its own folder.")] = MOUNTED_AT,
) -> None:
    """Make certificates and NKeys, or renew the certificates of what is there."""
    _refuse_new_authorities(folder)
    hosts = _hosts(folder / "nodes", node or [])
    regions = [_checked(name) for name in region or []]
    servers, clients = _Authority(folder / "authorities", "servers"), _Authority(folder / "authorities", "clients")
    keys = {role: _identity(folder / "roles" / role, role, clients, servers) for role in ROLES}
    for name in regions:
        (folder / "regions" / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    names = sorted(path.name for path in (folder / "regions").glob("*"))
    region_keys = {name: _identity(folder / "regions" / name, name, clients, servers) for name in names}
    for name, reached in hosts.items():
        own = folder / "nodes" / name
        servers.certify(own / "server", name, (SERVER, CLIENT), reached)
        _write(own / "servers.crt", servers.certificate)
        _write(own / "clients.crt", clients.certificate)
        _write(own / "node.conf", _node(name, reached[0], mounted_at, [others[0] for others in hosts.values()]))
        _write(own / "keys.conf", "".join(f"{role.upper()}_NKEY: {key}\n" for role, key in keys.items()).encode())
        template = Template((TEMPLATES / "region.conf.template").read_text())
        accounts = [template.substitute(region=name, nkey=key) for name, key in region_keys.items()]
        _write(own / "regions.conf", "".join(accounts).encode())
    typer.echo(f"{folder}: nodes {', '.join(hosts)}; roles {', '.join(ROLES)}; regions {', '.join(names) or 'none'}")


class _Authority:
    """Signs; its key lies in no folder that anybody is given.

    Args:
        folder: of its key and certificate.
        name: ``servers`` or ``clients``. One authority for both would let any client in as a node of the cluster.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = f"Fraisier NATS {name}"
        self._key = _kept(folder / f"{name}.key", new_key)
        self.certificate = authority_certificate(self.name, self._key)
        _write(folder / f"{name}.crt", self.certificate)

    def certify(self, path: Path, name: str, uses: tuple[object, ...], hosts: list[str]) -> None:
        """Write ``<path>.crt`` anew, for the key at ``<path>.key``, which is made when it is missing."""
        key = _kept(path.with_suffix(".key"), new_key)
        certificate = signed_certificate(
            name, key, authority=self.name, authority_key=self._key, uses=uses, hosts=hosts
        )  # fmt: skip
        _write(path.with_suffix(".crt"), certificate)


def _identity(folder: Path, name: str, clients: _Authority, servers: _Authority) -> str:
    """Everything that one role or region needs, in its own folder; returns its public NKey."""
    seed = _kept(folder / "seed.nk", lambda: nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    clients.certify(folder / "client", name, (CLIENT,), [])
    _write(folder / "servers.crt", servers.certificate)
    public: bytes = nkeys.from_seed(bytearray(seed.strip())).public_key
    return public.decode()


def _hosts(folder: Path, wanted: list[str]) -> dict[str, list[str]]:
    """The names under which each node is reached, as the first run was told."""
    if not folder.exists():
        for one in wanted or NODES:
            match = _NODE.fullmatch(one)
            if match is None:
                raise typer.BadParameter(f"{one!r}: write nats-1, or nats-1=nats-1.example,10.0.0.1")
            name, reached = match.groups()
            _write(folder / name / "hosts", (reached or f"{name},localhost,127.0.0.1").encode())
    elif wanted:
        raise typer.BadParameter(
            f"{folder} names the nodes already: change its `hosts` files, and run again without --node"
        )
    return {path.parent.name: path.read_text().strip().split(",") for path in sorted(folder.glob("*/hosts"))}


def _refuse_new_authorities(folder: Path) -> None:
    """Nobody who is out there would trust them."""
    missing = [name for name in ("servers.key", "clients.key") if not (folder / "authorities" / name).exists()]
    if (folder / "nodes").exists() and missing:
        raise typer.BadParameter(
            f"{folder / 'authorities'} has no {' and no '.join(missing)}: put the folder back first"
        )


def _checked(region: str) -> str:
    if not _REGION.fullmatch(region) or region == WHOLE_ROLLOUT:
        raise typer.BadParameter(
            f"{region!r}: a region is 1 to 128 letters, digits, - or _, and not {WHOLE_ROLLOUT!r}, "
            "under which only the orchestrator publishes"
        )
    return region


def _node(name: str, host: str, folder: Path, hosts: list[str]) -> bytes:
    """A node's own part of the configuration."""
    paths = {"CERTIFICATE": "server.crt", "KEY": "server.key", "CLIENTS_AUTHORITY": "clients.crt",
             "SERVERS_AUTHORITY": "servers.crt"}  # fmt: skip
    routes = ", ".join(f'"tls://{host}:{CLUSTER_PORT}"' for host in hosts)
    files = "".join(f'NODE_{key}: "{folder / file}"\n' for key, file in paths.items())
    own = f'server_name: "{name}"\nNODE_DATA: "{DATA}"\nNODE_ADVERTISE: "{host}:{CLUSTER_PORT}"\n'
    return f"{own}{files}NODE_ROUTES: [{routes}]\n".encode()


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds; made on the first run, and readable by its owner only."""
    if not path.exists():
        _write(path, make())
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    """Replace a file as a whole, so that no interrupted run leaves half a key; mkstemp's files are the owner's only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).replace(path)


if __name__ == "__main__":
    typer.run(main)
