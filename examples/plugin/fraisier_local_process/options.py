"""What a manifest may say about a target."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class LocalProcessOptions(BaseModel):
    """The options of a target. An unknown key is an error, so that a typing mistake is one.

    Attributes:
        name: the target's name, by which it is told from others.
        root: the folder that holds the releases and what is known about them.
        start: the argument list that runs a release, in the release's folder.
        keep_releases: how many releases stay, the running one included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    root: Path
    start: Annotated[tuple[str, ...], Field(min_length=1)]
    keep_releases: int = Field(default=3, ge=2)
