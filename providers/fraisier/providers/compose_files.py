"""Which files a release's Compose files may name: those of the release.

The plugin reads whatever it is pointed at, with all that the worker's user may read, and puts it into the project. So
what a Compose file names is looked at before the plugin sees it, at any depth: what stands under an anchor may be
merged anywhere. Paths are relative and never climb, so it does not matter from which of the release's folders they
count.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePosixPath
from string import Template

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

COMPOSE_FILES = ("include", "extends")
"""Keys whose files are Compose files themselves."""

KEYS = (*COMPOSE_FILES, "env_file", "label_file")
"""Keys whose files the plugin reads while it makes one model of all Compose files."""

PATHS = ("path", "file", "env_file", "project_directory", "<<")
"""Where paths stand below those keys, if not at once."""

BINARY = "tag:yaml.org,2002:binary"
LINE_BREAKS = ("\x85", "\u2028", "\u2029")
"""What ends a line, and a comment with it, for some readers of YAML and not for others."""


class Astray(ValueError):
    """A Compose file names what is no file of the release, for the reason given."""


@dataclass(frozen=True)
class Named:
    """A path that a Compose file names.

    Attributes:
        key: what it is there for, such as ``env_file``.
        where: where it stands, such as ``services.web.env_file``.
        path: as it is written.
    """

    key: str
    where: str
    path: str


def check_files(folder: Path, files: tuple[str, ...], variables: Mapping[str, str]) -> None:
    """See that Compose files name only files of the release, and so do those that they bring in. This blocks.

    Args:
        folder: the release's, with no link in it that leads out.
        files: the Compose files in it; one that is not there is left to whoever reads it.
        variables: what the plugin will fill in.

    Raises:
        Astray: one does not.
    """
    ahead, seen = [folder / file for file in files], set[Path]()
    while ahead:
        file = ahead.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        for named in named_files(file.read_bytes(), name=str(file.relative_to(folder))):
            path = _filled(named, variables)
            if leads_out(path):
                raise Astray(f"{file.relative_to(folder)}: {told(named)}")
            if named.key in COMPOSE_FILES and (parts := PurePosixPath(path).parts):
                ahead += folder.rglob(escape("/".join(parts)))


def named_files(content: bytes, *, name: str) -> Iterator[Named]:
    """The paths that a Compose file names for the plugin to read.

    Raises:
        Astray: it cannot be told, since it is not YAML or hides its words.
    """
    ahead, seen = [("", root) for root in _documents(content, name)], set[int]()
    while ahead:
        where, node = ahead.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        keys = [key for key, _ in node.value] if isinstance(node, MappingNode) else []
        if any(one.tag == BINARY for one in (node, *keys)):
            raise Astray(f"{name}: {where or 'it'} hides words as binary, which no Compose file needs")
        for key, inner in _inside(node):
            place = f"{where}.{key}".lstrip(".")
            ahead.append((place, inner))
            if key in KEYS:
                yield from (Named(key, place, path) for path in _paths(inner))


def leads_out(path: str) -> bool:
    """Whether a path may lead out of the folder that it counts from.

    >>> [leads_out(path) for path in ("./a/b.env", "/etc/passwd", "../b.env", "~/b.env", "https://eu1.example/b.yaml")]
    [False, True, True, True, True]
    """
    return path.startswith(("/", "~")) or ":" in path or ".." in path.split("/")


def told(named: Named) -> str:
    """Why a path that leads out is refused."""
    return f"{named.where} names {named.path}: it may name files of the release, by relative paths without `..`"


def _filled(named: Named, variables: Mapping[str, str]) -> str:
    try:
        return Template(named.path).substitute(variables)
    except (KeyError, ValueError):
        raise Astray(f"{named.where} names {named.path}: in a path, only ${{NAME}} of `env` is filled in") from None


def _documents(content: bytes, name: str) -> list[Node]:
    if any(one.encode() in content for one in LINE_BREAKS):
        raise Astray(f"{name} has line breaks of Unicode's own: write plain ones")
    reader = YAML(typ="safe", pure=True)
    reader.composer.warn_double_anchors = False  # Compose takes the last one, and so does this
    try:
        return [node for node in reader.compose_all(content.decode("utf-8-sig")) if node is not None]
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Astray(f"{name} is not YAML: {error.problem}{line}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise Astray(f"{name} is not YAML") from error


def _inside(node: Node) -> list[tuple[str, Node]]:
    """What is inside a mapping or list, each part with its key or place."""
    if isinstance(node, MappingNode):
        return [(str(key.value), inner) for key, inner in node.value]
    if isinstance(node, SequenceNode):
        return [(str(place), inner) for place, inner in enumerate(node.value)]
    return []


def _paths(node: Node) -> Iterator[str]:
    ahead, seen = [node], set[int]()
    while ahead:
        one = ahead.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, ScalarNode):
            yield str(one.value)
        listed = isinstance(one, SequenceNode)
        ahead += [inner for key, inner in _inside(one) if listed or key in PATHS]
