"""A real systemd host as a bench for a service whose units come with its releases: of the system, or of a user."""

import io
import tarfile
from pathlib import Path
from typing import Any

from fraisier.nats import NatsEventBus
from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.models import Release
from tests.support.releases import digest_of
from tests.support.systemd_hosts import SystemdHost

PORT = 8090
PROGRAM = """\
#!/usr/bin/env python3
import os, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Web(BaseHTTPRequestHandler):
    def do_GET(self):
        body = VERSION.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

print("web", VERSION, "starts", flush=True)
if os.environ.get("LISTEN_FDS"):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
else:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Web)
server.serve_forever()
"""


class WebBench:
    """See `tests.contracts.rollout.Bench`."""

    service = "web"
    url = f"http://127.0.0.1:{PORT}/"

    def __init__(self, host: SystemdHost, folder: Path, scope: str) -> None:
        self.host, self.folder, self.scope = host, folder, scope
        self.root = "/opt/web" if scope == "system" else "/home/deploy/web"
        self.home = "/etc/systemd/system" if scope == "system" else "/home/deploy/.config/systemd/user"

    def provider(self, event_bus: NatsEventBus | None = None, **changed: Any) -> BareMetalProvider:
        config = {
            "host": self.host.host,
            "port": self.host.port,
            "username": self.host.username,
            "key_path": str(self.host.key_path),
            "known_hosts": str(self.host.known_hosts),
            "root": self.root,
            "service_unit": "web.service",
            "scope": self.scope,
            "sudo": self.scope == "system",
            "units": "systemd",
            **changed,
        }
        return BareMetalProvider(config=config, event_bus=event_bus, region="test")

    def release(self, version: str, *, healthy: bool = True, **units: str) -> Release:
        """A release with `web.service`, and with more units or drop-ins: `socket="…"`, `drop_in="…"`."""
        unit = units.get(
            "service",
            f"[Service]\nEnvironmentFile=-{self.root}/current/fraisier.env\nExecStart={self.root}/current/bin/web\n"
            "TimeoutStopSec=5\n[Install]\nWantedBy=multi-user.target default.target\n",
        )
        files = {"bin/web": PROGRAM.replace("PORT", str(PORT)).replace("VERSION", repr(version))}
        if unit:
            files["systemd/web.service"] = unit
        if "socket" in units:
            files["systemd/web.socket"] = units["socket"]
        if "drop_in" in units:
            files["systemd/web.service.d/own.conf"] = units["drop_in"]
        artifact = self.folder / f"web-{version}.tar.gz"
        with tarfile.open(artifact, "w:gz") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(text.encode()), 0o755 if name.startswith("bin/") else 0o644
                archive.addfile(entry, io.BytesIO(text.encode()))
        return Release(service="web", version=version, digest=digest_of(artifact), artifact=artifact)

    async def serving(self) -> str:
        return self.host.run("curl", "--silent", "--max-time", "5", self.url, check=False)

    async def instance(self) -> str:
        return self.show("InvocationID")

    def show(self, names: str, unit: str = "web.service") -> str:
        return self.systemctl("show", f"--property={names}", unit)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Ask the manager that runs the units, as who deploys."""
        if self.scope == "system":
            return self.host.run("systemctl", *arguments, check=check)
        as_user = ("runuser", "-u", "deploy", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000")
        return self.host.run(*as_user, "systemctl", "--user", *arguments, check=check)

    def clean(self) -> None:
        """Leave nothing behind, whatever a test has done."""
        self.systemctl("disable", "--now", "web.socket", "web.service", check=False)
        self.host.run("sh", "-c", f"rm -rf {self.home}/web.* {self.home}/*.wants/web.* /home/deploy/web")
        self.host.run("find", "/opt/web", "-mindepth", "1", "-delete")
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed")
