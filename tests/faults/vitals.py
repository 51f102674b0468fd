"""How large processes are, as the kernel says."""

from pathlib import Path

from tests.faults.records import Vitals


def vitals_of(name: str, pid: int) -> Vitals:
    """A process now.

    Raises:
        OSError: it is gone.
    """
    own = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (own / "status").read_text().splitlines())
    if "VmRSS" not in status:
        raise ProcessLookupError(f"{name} is dead")
    files = [_target(file) for file in (own / "fd").iterdir()]
    return Vitals(
        process=f"{name} {pid}",
        files=len(files),
        connections=sum(file.startswith("socket:") for file in files),
        threads=int(status["Threads"]),
        memory_kb=int(status["VmRSS"].split()[0]),
    )


def _target(file: Path) -> str:
    try:
        return str(file.readlink())
    except FileNotFoundError:
        return ""
