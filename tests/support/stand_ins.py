"""Stand-ins for public container images, for machines that cannot pull them: same names, real programs inside."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.docker_engine import Engine
from tests.support.testbed import debian_image

PACKAGES = ("ca-certificates", "python3", "python3-venv", "wget")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

NATS = "COPY nats-server /usr/local/bin/\nEXPOSE 4222 8222\n"
NATS_BOX = "COPY nats /usr/local/bin/\n"
TEMPORAL = 'COPY temporal /temporal\nUSER 1000:1000\nENTRYPOINT ["/temporal"]\n'
DOCKER = "COPY docker /usr/local/bin/\nCOPY docker-compose /usr/local/libexec/docker/cli-plugins/\n"
# The machine's own certificates: behind a proxy that inspects TLS, only those open the package index.
PYTHON = f'COPY ca-certificates.crt {CERTIFICATES}\nRUN printf "[global]\\ncert = {CERTIFICATES}\\n" > /etc/pip.conf\n'


@contextmanager
def public_images(engine: Engine, dockerfiles: dict[str, tuple[str, tuple[Path, ...]]]) -> Iterator[None]:
    """Have images by their public names for the block: those that are here or can be pulled, else stand-ins.

    Args:
        engine: where they shall be.
        dockerfiles: for each name, what stands after FROM in the stand-in's Dockerfile, and the files that it copies.
    """
    made: list[str] = []
    try:
        for name, (dockerfile, files) in dockerfiles.items():
            if not (_works(engine, "image", "inspect", name) or _works(engine, "pull", "--quiet", name)):
                _build(engine, name, dockerfile, files)
                made.append(name)
        yield
    finally:
        for name in made:
            engine.run("rmi", "--force", name)  # a container that used it may be on its way out still


def _works(engine: Engine, *arguments: str) -> bool:
    return subprocess.run(["docker", *arguments], capture_output=True, check=False).returncode == 0


def _build(engine: Engine, name: str, dockerfile: str, files: tuple[Path, ...]) -> None:
    base = debian_image(engine, PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            # A cached program has its version in its file name.
            shutil.copy(file, Path(folder) / _plain(file.name))
        (Path(folder) / "Dockerfile").write_text(f"FROM {base}\n{dockerfile}")
        engine.run("build", "--quiet", "--tag", name, folder)


def _plain(name: str) -> str:
    known = ("nats-server", "temporal", "nats", "docker-compose")
    return next((program for program in known if name == program or name.startswith(f"{program}-")), name)
