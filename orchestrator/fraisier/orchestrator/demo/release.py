"""The service that the demo ships: a little web server, in an archive built on the spot."""

import io
import sys
import tarfile
from pathlib import Path

SERVICE = "demo-api"

CONTROL = """\
#!/bin/sh
# api start | stop | check; PORT comes from the host.
cd "$(dirname "$0")/../.." || exit 1 # the folder that holds `current`
case $1 in
  start)
    "{python}" current/bin/server.py >>api.log 2>&1 </dev/null &
    echo $! >api.pid
    ;;
  stop)
    if [ -f api.pid ]; then
      kill "$(cat api.pid)" 2>/dev/null
      while kill -0 "$(cat api.pid)" 2>/dev/null; do sleep 0.05; done
      rm -f api.pid
    fi
    ;;
  check) exec "{python}" current/bin/check.py ;;
esac
exit 0
"""

SERVER = """\
import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        self.end_headers()
        self.wfile.write(b"{version}")

    def log_message(self, *args):
        pass


HTTPServer.allow_reuse_address = True
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Api).serve_forever()
"""

CHECK = """\
import os
import sys
import urllib.request

try:
    answer = urllib.request.urlopen("http://127.0.0.1:" + os.environ["PORT"] + "/health", timeout=2)
    sys.exit(0 if answer.read() == b"{version}" else "another version answers")
except OSError as error:
    sys.exit(str(error))
"""


def build_release(folder: Path, version: str, *, healthy: bool = True) -> Path:
    """Write ``api-<version>.tar.gz``; one that is not healthy answers 500."""
    path = folder / f"{SERVICE}-{version}.tar.gz"
    files = {
        "bin/api": CONTROL.format(python=sys.executable),
        "bin/server.py": SERVER.format(version=version, status=200 if healthy else 500),
        "bin/check.py": CHECK.format(version=version),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path
