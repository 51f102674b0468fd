"""What of a release is kept on the engine: all that any worker needs to bring the project to it, but no secret."""

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from fraisier.providers.compose.options import DEFAULT_FILE, ComposeOptions
from fraisier.providers.compose.scratch import own_folder
from fraisier.providers.models import Model, Release, ReleaseRef
from fraisier.providers.secrets import Environment, SecretRef, resolved

RECIPE, ARTIFACT = "recipe.json", "artifact.tar.gz"


@dataclass(frozen=True)
class Variables:
    """The environment of the plugin.

    Attributes:
        values: the variables.
        secret: those of the values that may not be said.
    """

    values: dict[str, str] = field(default_factory=dict, repr=False)
    secret: tuple[str, ...] = field(default=(), repr=False)

    def beside(self, more: dict[str, str]) -> "Variables":
        """These and more."""
        return Variables(values={**self.values, **more}, secret=self.secret)

    @property
    def hidden(self) -> tuple[str, ...]:
        """What nobody may see in what the plugin says: the secrets, and each of their lines."""
        return tuple(word for value in self.secret for word in (value, *value.splitlines()) if word.strip())


class Recipe(Model):
    """How a release becomes a project, as the manifest had it when the release was staged.

    Attributes:
        release: the release.
        image: its image reference, for ``RELEASE_IMAGE``.
        files: the Compose files in its folder.
        compose: the Compose file itself where there is no artifact.
        env: the variables; secrets by reference.
        images: the ID of each service's image: what is tagged anew later changes nothing.
        names: what those images were called.
    """

    release: ReleaseRef
    image: str | None = None
    files: tuple[str, ...]
    compose: dict[str, Any] | None = None
    env: Environment = Field(default_factory=dict)
    images: dict[str, str] = Field(default_factory=dict)
    names: dict[str, str] = Field(default_factory=dict)

    def variables(self, *, target: str, step: str) -> Variables:
        """What the Compose files may name, secrets read now.

        Raises:
            SecretMissing: one is not there.
        """
        release = {"RELEASE_VERSION": self.release.version, "RELEASE_DIGEST": self.release.digest}
        image = {} if self.image is None else {"RELEASE_IMAGE": self.image}
        given = resolved(self.env, target=target, step=step)
        secret = tuple(given[name] for name, value in self.env.items() if isinstance(value, SecretRef))
        return Variables(values={**given, **release, **image}, secret=secret)


class Bundle(Model):
    """A recipe and, where the release has one, its artifact."""

    recipe: Recipe
    artifact: bytes | None = Field(default=None, repr=False)

    def is_whole(self) -> bool:
        """Whether the Compose file is in it, and the artifact is the release's to the last byte."""
        if self.artifact is None:
            return self.recipe.compose is not None
        return self.recipe.release.digest == f"sha256:{hashlib.sha256(self.artifact).hexdigest()}"

    def with_images(self, images: dict[str, str], names: dict[str, str]) -> "Bundle":
        """The bundle with the IDs and names of its services' images."""
        return self.model_copy(update={"recipe": self.recipe.model_copy(update={"images": images, "names": names})})

    @asynccontextmanager
    async def unpacked(self) -> AsyncIterator[Path]:
        """The release's folder, on this machine, which only this user may read; it is gone after the block."""
        async with own_folder() as folder:
            await asyncio.to_thread(self._unpack, folder)
            yield folder

    def packed(self) -> bytes:
        """All of it as one archive."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            _add(archive, RECIPE, self.recipe.model_dump_json().encode())
            if self.artifact is not None:
                _add(archive, ARTIFACT, self.artifact)
        return packed.getvalue()

    def _unpack(self, folder: Path) -> None:
        if self.recipe.compose is not None:
            (folder / DEFAULT_FILE).write_text(json.dumps(self.recipe.compose))
        if self.artifact is not None:
            with tarfile.open(fileobj=io.BytesIO(self.artifact), mode="r:gz") as archive:
                archive.extractall(folder, filter="data")


def new_bundle(options: ComposeOptions, release: Release, artifact: bytes | None) -> Bundle:
    """The bundle of a release that is staged now; its images are not known yet."""
    recipe = Recipe(
        release=release.ref,
        image=release.image,
        files=(DEFAULT_FILE,) if options.compose is not None else options.file,
        compose=options.compose,
        env=options.env,
    )
    return Bundle(recipe=recipe, artifact=artifact)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o600
    archive.addfile(entry, io.BytesIO(content))
