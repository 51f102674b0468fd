"""A real PostgreSQL server for the session, on a port of its own, run by somebody who is not root."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

PASSWORD = "pg-password-" + secrets.token_hex(8)
READY_S = 60.0


def program(name: str) -> str:
    """A program of the server: on PATH, or where Debian keeps it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    assert found, f"there is no {name}: make setup-tests installs postgresql"
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class PostgresServer:
    """The server; root lends it to nobody, since it refuses to be root's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.runs_as = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        if os.geteuid() != 0:
            self.runs_as = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def make(self) -> None:
        """Make the data folder."""
        word = self.folder / "password"
        word.write_text(PASSWORD)
        if self.runs_as:
            shutil.chown(self.folder, "nobody")
            shutil.chown(word, "nobody")
        argv = [program("initdb"), "-D", self.data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", word]
        subprocess.run(
            [*argv, "--no-sync", "-E", "UTF8", "--locale=C"],
            cwd=self.folder,
            check=True,
            capture_output=True,
            **self.runs_as,
        )

    def start(self) -> None:
        """Start it and wait until it lets us in."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 60,
        }
        argv = [program("postgres"), "-D", self.data, *(f"--{name}={value}" for name, value in options.items())]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, cwd=self.folder, stdout=log, stderr=log, **self.runs_as)
        end = time.monotonic() + READY_S
        while True:
            if self._lets_us_in():
                return
            alive = self._process.poll() is None and time.monotonic() < end
            assert alive, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.1)

    def _lets_us_in(self) -> bool:
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it at once, as a crash would; what it had not committed is lost."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: all its processes end now
            self._process.wait(READY_S)

    def new_database(self) -> "Database":
        """A database that nobody else uses."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as session:
            session.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return Database(self, name)

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"


@dataclass
class Database:
    """A database of its own for one test."""

    server: PostgresServer
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    def ask(self, query: str) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True) as session:
            cursor = session.execute(query)
            return cursor.fetchall() if cursor.description else []

    def records(self) -> dict[str, str]:
        """The recorded state of every phase."""
        if self.ask("SELECT to_regclass('fraisier_migrations')") == [(None,)]:
            return {}
        return dict(self.ask("SELECT phase, state FROM fraisier_migrations"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server. Not in pytest's own folders, which only their owner may enter."""
    with tempfile.TemporaryDirectory(prefix="fraisier-postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder))
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def database(postgres: PostgresServer) -> Database:
    """A database of its own."""
    return postgres.new_database()
