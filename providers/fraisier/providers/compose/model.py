"""What is done to a resolved Compose model before it is brought up. Pure, but for reading the release's own files.

The engine may be anywhere, so nothing in the model may lie on this machine: files of the release that configurations
and secrets name travel inside the model, and a mount of such a file is refused.
"""

import hashlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from fraisier.providers.docker.claims import NOTHING

GATE = "fraisier-gate"
"""A service of which nothing ever runs: it wants the step's gate, without which the plugin does nothing at all."""

CONTENT = "dev.fraisier.content"
"""Labels a service with a hash of the files in its configurations: to the plugin it is the same while they change."""

FILE_VARIABLE = "FRAISIER_FILE_"
SHORT = 12

Model = dict[str, Any]


class Unfit(ValueError):
    """The project cannot run on an engine elsewhere, for the reason given."""


def images_of(model: Mapping[str, Any]) -> dict[str, str]:
    """The image of each service.

    Raises:
        Unfit: a service has none.
    """
    found = {}
    for name, service in model["services"].items():
        if "image" not in service:
            raise Unfit(f"service {name} is to be built: a release brings images, so give it `image`")
        found[name] = service["image"]
    return found


def carried(model: Model, folder: Path) -> tuple[Model, dict[str, str]]:
    """The model with all files of the release inside it, and the variables that hold its secret ones.

    Raises:
        Unfit: it mounts a file of the release, or names one that is not there.
    """
    model = deepcopy(model)
    _refuse_what_the_worker_would_give(model, folder)
    for name, service in model["services"].items():
        service.pop("build", None)
        for mount in service.get("volumes") or ():
            if mount["type"] == "bind" and (inside := _inside(folder, mount["source"])):
                raise Unfit(f"service {name} mounts {inside} of the release, which no engine sees: use `configs`")
    hashes = _carry_configs(model, folder)
    for service in model["services"].values():
        known = [hashes[config["source"]] for config in service.get("configs") or () if config["source"] in hashes]
        if known:
            content = hashlib.sha256("".join(known).encode()).hexdigest()[:SHORT]
            service["labels"] = {**(service.get("labels") or {}), CONTENT: content}
    return model, _carry_secrets(model, folder)


def armed(model: Model, *, images: Mapping[str, str], gate: str) -> Model:
    """The model with its images pinned, and of use only while the gate is there.

    Args:
        model: what `carried` made.
        images: the ID of each service's image on the engine.
        gate: the name of the step's gate, a volume.
    """
    services = {
        name: {**service, "image": images[name], "pull_policy": "never"} for name, service in model["services"].items()
    }
    services[GATE] = {
        "image": f"{NOTHING}:1",
        "pull_policy": "never",
        "command": ["-"],
        "network_mode": "none",
        "deploy": {"replicas": 0},
        "volumes": [{"type": "volume", "source": GATE, "target": "/gate"}],
    }
    volumes = {**(model.get("volumes") or {}), GATE: {"name": gate, "external": True}}
    return {**model, "services": services, "volumes": volumes}


def _refuse_what_the_worker_would_give(model: Model, folder: Path) -> None:
    """Refuse what the plugin would take from this machine: its files, its programs, its access to registries."""
    for kind in ("configs", "secrets"):
        for name, one in (model.get(kind) or {}).items():
            if "file" in one and not _is_ours(folder, one["file"]):
                raise Unfit(f"{kind}.{name}.file is {one['file']}, which is no file of the release")
    for name, service in model["services"].items():
        for profile in _profiles(service):
            if not _is_ours(folder, profile):
                raise Unfit(f"services.{name}.security_opt names {profile}, which is no file of the release")
        for key in ("provider", "use_api_socket", "models"):
            if service.get(key):
                raise Unfit(f"services.{name}.{key}: a release gets nothing of the worker that brings it: leave it out")


def _profiles(service: Mapping[str, Any]) -> Iterator[str]:
    """The files that the plugin would read as seccomp profiles."""
    for option in service.get("security_opt") or ():
        key, _, value = option.partition("=") if "=" in option else option.partition(":")
        if key == "seccomp" and value not in ("unconfined", "builtin"):
            yield value


def _is_ours(folder: Path, path: str) -> bool:
    if path.startswith("~"):  # the plugin would take it for a home, and without one for the root
        return False
    return (folder / path).resolve().is_relative_to(folder)


def _carry_configs(model: Model, folder: Path) -> dict[str, str]:
    """Put the files of configurations into the model; a hash of each one's content."""
    hashes = {}
    for name, config in (model.get("configs") or {}).items():
        if inside := _inside(folder, config.get("file")):
            config["content"] = _read(folder, inside).replace("$", "$$")
            del config["file"]
        if "content" in config:
            hashes[name] = hashlib.sha256(config["content"].encode()).hexdigest()
    return hashes


def _carry_secrets(model: Model, folder: Path) -> dict[str, str]:
    """Let the files of secrets be read from variables, and give those."""
    variables = {}
    for number, secret in enumerate((model.get("secrets") or {}).values()):
        if inside := _inside(folder, secret.get("file")):
            variables[f"{FILE_VARIABLE}{number}"] = _read(folder, inside)
            secret["environment"] = f"{FILE_VARIABLE}{number}"
            del secret["file"]
    return variables


def _inside(folder: Path, source: str | None) -> str:
    """The path inside the release's folder, or nothing when it is elsewhere."""
    path = Path(source or "/")
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else ""


def _read(folder: Path, inside: str) -> str:
    try:
        return (folder / inside).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Unfit(f"the release's {inside} cannot be read: {why}") from error
