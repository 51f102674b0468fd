"""The service that is rolled out under faults: files that say what runs, and a log of its own of every start."""

import gzip
import io
import tarfile
from pathlib import Path

# Works in the service's root. A file `hold` with its version keeps a start from ending until it is gone.
START = """\
#!/bin/sh
version=$(cat current/version)
printf '%s %s\\n' "$(date +%s.%N)" "$version" >>starts
if [ "$(cat hold 2>/dev/null)" = "$version" ]; then
  touch held
  tries=0
  while [ -e hold ] && [ "$tries" -lt 600 ]; do sleep 0.05; tries=$((tries + 1)); done
  rm -f held
fi
cp current/version served
"""

STOP = "#!/bin/sh\nrm -f served\n"

CHECK = """\
#!/bin/sh
cd "$(dirname "$0")/../.." || exit 1
[ "$(cat current/ill)" != "$1" ] || { echo 'this release is ill' >&2; exit 1; }
cmp -s current/version served || { echo 'another version is served' >&2; exit 1; }
"""


def build_release(folder: Path, version: str, *, ill: str = "") -> Path:
    """Write ``<version>.tar.gz``, which is not healthy in the region `ill`.

    Two of its files say the same, so that a mixed release can be told from a whole one.
    """
    path = folder / f"{version}.tar.gz"
    files = {
        "bin/start": START,
        "bin/stop": STOP,
        "bin/check": CHECK,
        "version": version + "\n",
        "twin": version + "\n",
        "ill": ill + "\n",
    }
    # Without a time in it: the same release built again has the same digest.
    with gzip.GzipFile(path, "w", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path
