"""The job as a command a step, for the peers that work so."""

import json
import sys
from pathlib import Path
from typing import Any


def order() -> dict[str, Any]:
    """What this run is told to do."""
    told: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return told


def is_there(root: str, version: str, digest: str) -> str:
    """Prints ``same`` where the release runs already."""
    return (
        f'mkdir -p {root}/releases && cd {root} && if [ "$(readlink current 2>/dev/null)" = releases/{version} ] && '
        f'[ "$(cat current/.digest 2>/dev/null)" = {digest} ]; then echo same; else echo other; fi'
    )


def make_folder(root: str, version: str) -> str:
    """Before the upload."""
    return f"mkdir -p {root}/releases/{version}"


def after_upload(root: str, version: str, digest: str) -> dict[str, str]:
    """What follows the upload to ``<root>/artifact``, by name."""
    release = f"{root}/releases/{version}"
    old = f"cd {root} && ls -1t releases | tail -n +4 | while read -r old; do rm -rf releases/$old; done"
    return {
        "verify": f"echo '{digest}  {root}/artifact' | sha256sum --check --status",
        "unpack": f"tar -xzf {root}/artifact -C {release} && rm {root}/artifact && echo {digest} >{release}/.digest",
        "switch": f"cd {root} && ln -s releases/{version} current.new && mv -T current.new current",
        "restart": f"{root}/current/bin/app restart",
        "health": health(root, version),
        "prune": old,
    }


def health(root: str, version: str) -> str:
    """Fails unless the version answers."""
    return f'test "$({root}/current/bin/app version)" = {version}'
