"""What a manifest may say about a Compose target."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fraisier.providers.docker.options import EngineOptions

DEFAULT_FILE = "compose.yaml"
RESERVED = ("RELEASE_", "DOCKER_")
"""How the variables begin that every Compose file is given about its release, and those that steer the plugin."""


def _stays_inside(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"must be a path inside the release's folder, not {path!r}")
    return path


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Files = Annotated[
    tuple[Annotated[str, AfterValidator(_stays_inside)], ...],
    BeforeValidator(_one_or_more, json_schema_input_type=str | tuple[str, ...]),
    Field(min_length=1),
]
"""Paths in the release's folder; a single one may be written without a list."""


class ComposeOptions(EngineOptions):
    """The options of a Compose target, beside those of every engine.

    The variables of `env` are what the Compose files may name, as ``${NAME}``, beside ``RELEASE_VERSION``,
    ``RELEASE_DIGEST`` and ``RELEASE_IMAGE``.

    Attributes:
        file: the Compose file in the release's artifact, or several that are laid over one another.
        compose: the Compose file itself, for a release that is an image and has no artifact.
        project: the project's name; the service's unless given.
        main: the service that loopback addresses and commands of health checks mean; the only one, else the one that
            is called as the release's service.
    """

    file: Files = (DEFAULT_FILE,)
    compose: dict[str, Any] | None = None
    project: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None = None
    main: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> "ComposeOptions":
        if self.compose is not None and "file" in self.model_fields_set:
            raise ValueError("give either file, which is in the artifact, or compose")
        if self.compose is not None and not isinstance(self.compose.get("services"), dict):
            raise ValueError("compose has no services")
        taken = [name for name in self.env if name.startswith(RESERVED)]
        if taken:
            raise ValueError(f"env: {' and '.join(taken)}: names that begin with {' or '.join(RESERVED)} are taken")
        return self

    def project_of(self, service: str) -> str:
        """The project's name for a service: its own, as far as Compose allows."""
        return self.project or re.sub(r"[^a-z0-9_-]", "-", service.lower())
