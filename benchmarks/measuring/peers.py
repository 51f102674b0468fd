"""The peers: what each needs, in a throwaway venv, and how each is told to do the job."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "peers"
FORKS = 25
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

REQUIREMENTS = {
    "fabric": "fabric==3.2.3",
    "pyinfra": "pyinfra==3.10.0",
    "parallel-ssh": "parallel-ssh==2.16.0.post1",
    "ansible": "ansible-core==2.19.14",
}
"""What is installed for each, of the version that was compared with; nothing of it is part of Fraisier."""

Command = tuple[list[str], dict[str, str]]
"""An argument list and what is added to the environment."""


@dataclass(frozen=True)
class Peer:
    """Another tool that does the job.

    Attributes:
        name: the side's name.
        command: what does an order, given its file.
    """

    name: str
    command: Callable[[Path], Command]


def floor() -> Peer:
    """Bare asyncssh, from Fraisier's own environment."""
    return Peer("asyncssh", lambda order: ([sys.executable, str(FOLDER / "floor.py"), str(order)], {}))


def install_peers(folder: Path, names: tuple[str, ...]) -> list[Peer]:
    """Make each a venv in `folder` and say how it is run."""
    commands = {"fabric": _fabric, "pyinfra": _pyinfra, "parallel-ssh": _parallel_ssh, "ansible": _ansible}
    return [Peer(name, commands[name](_venv(folder / name, REQUIREMENTS[name]))) for name in names]


def _venv(folder: Path, requirement: str) -> Path:
    print(f"installing {requirement}", flush=True)
    if shutil.which("uv"):
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, folder], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", folder / "bin/python", requirement], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", requirement], check=True)
    return folder / "bin"


def _fabric(programs: Path) -> Callable[[Path], Command]:
    return lambda order: ([str(programs / "python"), str(FOLDER / "fabric_peer.py"), str(order)], {})


def _parallel_ssh(programs: Path) -> Callable[[Path], Command]:
    return lambda order: ([str(programs / "python"), str(FOLDER / "parallel_ssh_peer.py"), str(order)], {})


def _pyinfra(programs: Path) -> Callable[[Path], Command]:
    deploy = [str(FOLDER / "pyinfra" / name) for name in ("inventory.py", "deploy.py")]
    command = [str(programs / "pyinfra"), "-y", "--no-wait", "--parallel", "16", *deploy]
    return lambda order: (command, {"BENCH_ORDER": str(order), "BENCH_PEERS": str(FOLDER)})


def _ansible(programs: Path) -> Callable[[Path], Command]:
    def command(order: Path) -> Command:
        told = json.loads(order.read_text())
        inventory, variables = order.with_suffix(".ini"), order.with_suffix(".vars.json")
        inventory.write_text("".join(f"{address} root={root}\n" for address, root in told["hosts"].items()))
        variables.write_text(json.dumps({name: told[name] for name in ("version", "artifact", "digest")}))
        playbook = str(FOLDER / "ansible" / "deploy.yml")
        return (
            [str(programs / "ansible-playbook"), "-i", str(inventory), "-e", f"@{variables}", playbook],
            _ansible_settings(order.parent, told),
        )

    return command


def _ansible_settings(folder: Path, told: dict[str, str]) -> dict[str, str]:
    """Its own best: pipelining, kept masters, and as many forks as were fastest."""
    strict = f"-o UserKnownHostsFile={told['known_hosts']} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
    return {
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_REMOTE_USER": told["username"],
        "ANSIBLE_REMOTE_PORT": str(told["port"]),
        "ANSIBLE_PRIVATE_KEY_FILE": told["key"],
        "ANSIBLE_SSH_ARGS": f"-F none {strict} -o ControlMaster=auto -o ControlPersist=20s",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "masters"),
        "ANSIBLE_SSH_CONTROL_PATH": f"{folder}/masters/%%h",
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        "ANSIBLE_PYTHON_INTERPRETER": shutil.which("python3", path=SYSTEM_PATH) or sys.executable,
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_TIMEOUT": "60",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "LC_ALL": "C.UTF-8",
    }
