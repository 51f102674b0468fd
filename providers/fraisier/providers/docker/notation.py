"""How single values of a container's options are written, checked before anything is touched."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyAddress, model_validator

from fraisier.providers.models import Model

LARGEST_PORT = 65535
OURS = "dev.fraisier."
"""How labels begin that tell what a container is."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def parse_size(value: Any) -> int:
    """Read a size such as ``"512m"`` or ``"1.5g"``, in steps of 1024; the bytes.

    Raises:
        ValueError: it is not a size.

    >>> parse_size("512m")
    536870912
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a size: write a number of bytes, or one with its unit, such as 512m or 2g")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _in_range(port: str) -> str:
    numbers = [int(one) for one in port.rpartition("]")[2].partition("/")[0].split(":") if one.isdigit()]
    if any(not 1 <= one <= LARGEST_PORT for one in numbers):
        raise ValueError(f"{port} has a port that is none: they go from 1 to {LARGEST_PORT}")
    return port


def _not_ours(name: str) -> str:
    if name.startswith(OURS):
        raise ValueError(f"{name}: labels that begin with {OURS} are kept for what Fraisier writes there")
    return name


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _both(value: Any) -> Any:
    return {"soft": value, "hard": value} if isinstance(value, int) else value


class Ulimit(Model):
    """A limit of the container's processes; a single number is both.

    Attributes:
        soft: what holds unless a process asks for more; -1 is no limit.
        hard: the most that it may ask for; -1 is no limit.
    """

    soft: int = Field(ge=-1)
    hard: int = Field(ge=-1)

    @model_validator(mode="after")
    def _soft_is_lower(self) -> "Ulimit":
        if self.hard != -1 and not 0 <= self.soft <= self.hard:
            raise ValueError(f"soft ({self.soft}) must not be above hard ({self.hard})")
        return self


class Log(Model):
    """Where the engine keeps what the container writes.

    Attributes:
        driver: one of the engine's drivers; one that cannot be read back leaves failures without their last lines.
        options: the driver's own.
    """

    driver: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_./:-]*$")] = "json-file"
    options: dict[str, str] = Field(default_factory=dict)


Port = Annotated[
    str,
    Field(pattern=r"^(((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?\d{1,5}:)?\d{1,5}(/(tcp|udp))?$"),
    AfterValidator(_in_range),
]
"""``[[address:]host port:]container port[/udp]``."""

Mount = Annotated[str, Field(pattern=r"^(/[^:]*|[A-Za-z0-9][A-Za-z0-9_.-]*):/[^:]*(:(ro|rw))?$")]
"""``volume or /folder:/folder in the container[:ro]``."""

Tmpfs = Annotated[str, Field(pattern=r"^/[^:]*(:[a-z0-9=,]+)?$")]
"""``/folder in the container[:options of the mount]``."""

Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str)]
Capability = Annotated[str, Field(pattern=r"^(ALL|(CAP_)?[A-Z][A-Z_]+)$")]
StopSignal = Annotated[str, Field(pattern=r"^(SIG)?[A-Z][A-Z0-9]*([+-]\d+)?$")]
Hostname = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=63)]
HostAddress = IPvAnyAddress | Literal["host-gateway"]
Network = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Networks = Annotated[
    tuple[Network, ...], BeforeValidator(_one_or_more, json_schema_input_type=Network | tuple[Network, ...])
]
Labels = dict[Annotated[str, AfterValidator(_not_ours)], str]
Ulimits = dict[
    Literal[
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
        "rttime", "sigpending", "stack",
    ],
    Annotated[Ulimit, BeforeValidator(_both, json_schema_input_type=int | Ulimit)],
]  # fmt: skip
