"""A real PgBouncer in front of a PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import PASSWORD, READY_S, PostgresServer, free_port


@contextmanager
def pooler(server: PostgresServer, mode: str) -> Iterator[int]:
    """The port of a pooler that lets anybody in; `mode` says how long a client keeps a session of the server."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "there is no pgbouncer: make setup-tests installs it"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fraisier-pgbouncer-") as folder:
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres password={PASSWORD}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\n"
            "unix_socket_dir =\n"
        )
        for path in (Path(folder), settings):
            if server.runs_as:
                shutil.chown(path, "nobody")
        said = Path(folder) / "log"
        with said.open("w") as log:
            process = subprocess.Popen([found, settings], stdout=log, stderr=log, **server.runs_as)
            try:
                end = time.monotonic() + READY_S
                while not _lets_us_in(port):
                    alive = process.poll() is None and time.monotonic() < end
                    assert alive, said.read_text()
                    time.sleep(0.05)
                yield port
            finally:
                process.kill()
                process.wait()


def _lets_us_in(port: int) -> bool:
    try:
        psycopg.connect(f"postgresql://anybody@127.0.0.1:{port}/postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
