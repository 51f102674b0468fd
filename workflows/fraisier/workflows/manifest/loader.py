"""From a YAML file to a checked `Manifest`."""

import difflib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from fraisier.providers.hooks import Hook, Hooks, Moments
from fraisier.providers.migrations.models import Migration
from fraisier.providers.models import HealthCheck
from fraisier.providers.ssh_options import SshHop, SshOptions
from fraisier.providers.traffic.models import CaddyFilesTraffic, CaddyTraffic, CommandTraffic, HaproxyTraffic, Traffic
from fraisier.workflows.manifest.errors import ManifestInvalid, Problem
from fraisier.workflows.manifest.gate_parts import ApprovalPart, GatePart, PromotionPart
from fraisier.workflows.manifest.models import Manifest, RegionPart, ReleasePart
from fraisier.workflows.manifest.wave_parts import BatchPart, GrowingWavesPart, WavePart
from fraisier.workflows.manifest.window_parts import WindowPart
from fraisier.workflows.manifest.words import in_words

Location = tuple[int | str, ...]

PARTS: tuple[type[BaseModel], ...] = (
    Manifest,
    ReleasePart,
    WavePart,
    GrowingWavesPart,
    GatePart,
    ApprovalPart,
    PromotionPart,
    BatchPart,
    RegionPart,
    WindowPart,
    HealthCheck,
    Traffic,
    HaproxyTraffic,
    CaddyFilesTraffic,
    CaddyTraffic,
    CommandTraffic,
    SshHop,
    SshOptions,
    Hooks,
    Moments,
    Hook,
    Migration,
)
"""Every model of a manifest but the providers' options."""


def read_tree(path: Path) -> Any:
    """The file as a YAML tree that remembers its lines.

    Raises:
        ManifestInvalid: it cannot be read, is no YAML, or is not one mapping.
    """
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else None
        raise ManifestInvalid(str(path), [Problem("", f"not YAML: {error.problem}", line)]) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ManifestInvalid(str(path), [Problem("", f"cannot be read: {reason}; name a YAML file")]) from error
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        # What is no text, a date that is none, a mapping as a key, nesting without end: the parser tells no line.
        raise ManifestInvalid(str(path), [Problem("", f"not YAML: {_first_line(error)}")]) from error
    if not isinstance(tree, dict):
        why = "it is empty" if tree is None else "a manifest is a mapping that starts with service:"
        raise ManifestInvalid(str(path), [Problem("", f"{why}; fraisier init writes one to start from", 1)])
    return tree


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def plain(node: Any) -> Any:
    """A YAML tree as plain dicts, lists and scalars."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def problems_of(
    error: ValidationError, tree: Any, *, below: Location = (), model: type[BaseModel] | None = None
) -> list[Problem]:
    """Every error of a validation, with path and line in the file.

    Args:
        tree: the YAML tree that holds the lines.
        below: where in it the validated part stands.
        model: the validated model, for the nearest right key; by default the manifest's own.
    """
    found = []
    errors = error.errors(include_url=False)
    for one in errors:
        if one["type"] == "too_short" and any(_inside(other["loc"], one["loc"]) for other in errors):
            continue  # counted too short only because what is inside is wrong
        location = below + in_tree(one["loc"])
        inner = _model_at(model, in_tree(one["loc"])) if model else None
        known = _known(str(location[-1]), inner) if one["type"] == "extra_forbidden" else []
        found.append(Problem(".".join(map(str, location)), in_words(one, known), line_of(tree, location)))
    return found


def line_of(tree: Any, location: Location) -> int | None:
    """The line of the deepest part of `location` that is in the tree, from 1."""
    line = None
    node = tree
    for key in location:
        if not isinstance(node, (dict, list)) or not hasattr(node, "lc"):
            break
        try:
            at = node.lc.key(key) if isinstance(node, dict) else node.lc.item(key)
            node = node[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            break
        line = at[0] + 1
    return line or 1


def keys_of(path: str) -> Location:
    """The keys of a problem's path."""
    return tuple(int(key) if key.isdigit() else key for key in path.split("."))


def in_tree(location: Location) -> Location:
    """Where in the file an error of a validation is."""
    # pydantic names the branch of a union and a mapping's bad key; neither is a key of the file.
    noise = ("[", "function-", "literal[", "constrained-")
    return tuple(key for key in location if not (isinstance(key, str) and key.lower().startswith(noise)))


def _inside(location: Location, outer: Location) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _known(key: str, model: type[BaseModel] | None) -> list[str]:
    """The keys that could have been meant: a provider's all, of the manifest's only near ones."""
    models = (model,) if model else PARTS
    known = sorted({field.alias or name for part in models for name, field in part.model_fields.items()})
    return known if model else difflib.get_close_matches(key, known, n=1)


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """The model that a place in another one is checked by."""
    for key in location:
        field = model.model_fields.get(str(key))
        model = (_model_in(field.annotation) if field else None) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
