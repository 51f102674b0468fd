"""The image of a bare-metal host: Debian that boots a real systemd, cached under a hash of its recipe."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from tests.support.docker_engine import Engine, running_engine

FOLDER = Path(__file__).parents[2] / "infra" / "testbed"
SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "dbus-user-session",
    "iproute2",
    "iptables",
    "libpam-systemd",
    "openssh-server",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)


def host_image(engine: Engine) -> str:
    """The image's name; what is missing of it is made, in about a minute."""
    base = debian_image(engine, PACKAGES)
    image = f"fraisier-testbed:{_hash(base, *(file.read_text() for file in sorted(FOLDER.iterdir())))}"
    if not _has(engine, image):
        engine.run("build", "--quiet", "--build-arg", f"BASE={base}", "--tag", image, str(FOLDER))
    return image


def debian_image(engine: Engine, packages: tuple[str, ...]) -> str:
    """A Debian made from its own packages, since none may be there to pull and a pulled one has no init."""
    name = f"fraisier-testbed-base:{_hash(SUITE, *packages)}"
    if not _has(engine, name):
        made = subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", SUITE, "-"],
            capture_output=True,
            check=False,
            env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
        assert made.returncode == 0, f"mmdebstrap: {made.stderr.decode(errors='replace')[-2000:]}"
        engine.run("import", "-", name, stdin=made.stdout)
    return name


def _has(engine: Engine, image: str) -> bool:
    return bool(engine.run("images", "--quiet", image).strip())


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def main() -> None:
    """Make the image ahead of the tests, each of which has a timeout that would count the making."""
    with tempfile.TemporaryDirectory() as folder, running_engine(Path(folder)) as engine:
        print("test bed:", host_image(engine))  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
