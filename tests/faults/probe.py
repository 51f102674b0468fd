"""Looks through every host's `current` twenty times a second, and at argument lists every few seconds."""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.faults.records import Glimpse

EVERY_S = 0.05
ARGUMENTS_EVERY_S = 3.0


class Probe(threading.Thread):
    """Whoever uses the hosts' services, all the while.

    Args:
        roots: by host's name in records and service, where the service is kept.
        secret: what no argument list may hold.

    Attributes:
        glimpses: what was no whole release.
        told: argument lists that held the secret.
    """

    def __init__(self, roots: dict[tuple[str, str], Path], secret: str) -> None:
        super().__init__(daemon=True)
        self._roots = roots
        self._secret = secret.encode()
        self._done = threading.Event()
        self.glimpses: list[Glimpse] = []
        self.told: set[str] = set()
        self.looks = 0

    def run(self) -> None:
        arguments_at = 0.0
        while not self._done.wait(EVERY_S):
            for (host, service), root in self._roots.items():
                seen = look(root)
                if seen:
                    self.glimpses.append(Glimpse(host=host, service=service, at=time.time(), seen=seen))
            self.looks += 1
            if time.monotonic() > arguments_at:
                self.told |= {name for name, text in arguments() if self._secret in text}
                arguments_at = time.monotonic() + ARGUMENTS_EVERY_S

    def stop(self) -> None:
        self._done.set()
        self.join()


def look(root: Path) -> str:
    """What is wrong with what `current` shows; empty for one whole release.

    The folder is opened once, as a server does that serves files out of it.
    """
    try:
        folder = os.open(root / "current", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        return f"no release: {error.strerror}"
    try:
        version, twin = (_read(folder, name) for name in ("version", "twin"))
    except OSError as error:
        return f"half a release: {error.strerror}"
    finally:
        os.close(folder)
    return "" if version == twin else f"two releases at once: {version} and {twin}"


def arguments() -> Iterable[tuple[str, bytes]]:
    """The argument lists of all processes."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield str(file), file.read_bytes()
        except OSError:
            continue


def _read(folder: int, name: str) -> str:
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 100).decode().strip()
    finally:
        os.close(file)
