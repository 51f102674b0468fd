"""What a demo that was killed leaves behind, ended by the next one."""

import os
import shutil
from pathlib import Path

from fraisier.orchestrator.demo.release import SERVICE
from fraisier.orchestrator.launcher.progress import Progress
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.process import Process, birth_of, end

OWNER = "owner.json"
GRACE_S = 2.0


def claim(folder: Path) -> None:
    """Note in a demo's folder which process it belongs to."""
    owner = Process(pid=os.getpid(), birth=birth_of(os.getpid()) or "")
    (folder / OWNER).write_text(owner.model_dump_json())


async def end_leftovers(home: Path, progress: Progress) -> None:
    """End and remove every demo in the home folder whose process is gone."""
    for mark in home.glob(f"demo-*/{OWNER}"):
        if Process.model_validate_json(mark.read_bytes()).alive:
            continue
        progress(f"a demo that was killed is cleared away: {mark.parent}")
        await LocalStack(mark.parent).down()
        for file in mark.parent.glob(f"hosts/*/{SERVICE}/api.pid"):
            service = _service(file)
            if service is not None:
                await end(service, grace_s=GRACE_S)
        shutil.rmtree(mark.parent)


def _service(file: Path) -> Process | None:
    """The service that a demo's host runs, if that number still is its own: it works in the host's folder."""
    pid = int(file.read_text())
    try:
        at_home = Path(f"/proc/{pid}/cwd").readlink() == file.parent
    except OSError:
        return None
    birth = birth_of(pid)
    return Process(pid=pid, birth=birth) if at_home and birth else None
