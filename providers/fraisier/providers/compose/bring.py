"""How a release is made ready for an engine, and how the project is brought to it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fraisier.providers.bare_metal.artifact import check_artifact
from fraisier.providers.compose.bundle import Bundle, Recipe, Variables, new_bundle
from fraisier.providers.compose.engine import ProjectEngine
from fraisier.providers.compose.model import Unfit, armed, carried, images_of
from fraisier.providers.compose.options import ComposeOptions
from fraisier.providers.compose.plugin import Plugin
from fraisier.providers.compose.project import Project
from fraisier.providers.compose_files import Astray, check_files
from fraisier.providers.docker.images import loaded, pulled
from fraisier.providers.errors import ArtifactRejected
from fraisier.providers.models import Release, Step

LARGEST = 64 * 1024 * 1024
"""How large an artifact may be, in bytes: it is kept on the engine. Images come from registries and archives."""


@dataclass(frozen=True)
class Bringer:
    """Brings projects to releases.

    Args:
        engine: the engine.
        plugin: the plugin, told to work on it.
        options: the target's options.
        target: the target's name, for errors.
    """

    engine: ProjectEngine
    plugin: Plugin
    options: ComposeOptions
    target: str

    async def prepared(self, release: Release, *, project: str) -> Bundle:
        """The release as it is kept: its Compose files found good, its images on the engine.

        Raises:
            ArtifactRejected: a file or an image is not there, or is not right.
            SecretMissing: a secret is not there.
        """
        artifact = None if self.options.compose is not None else await asyncio.to_thread(self._read, release)
        bundle = new_bundle(self.options, release, artifact)
        async with bundle.unpacked() as folder:
            model, variables = await self._model(bundle.recipe, folder, project, step="stage")
            try:
                images = images_of(model)
            except Unfit as error:
                raise self._rejected(str(error)) from error
        if self.options.main is not None and self.options.main not in images:
            raise self._rejected(f"main is {self.options.main}, and the project has {', '.join(sorted(images))}")
        ids = {name: await self._image(image, release) for name, image in sorted(images.items())}
        sayable = {name: image for name, image in images.items() if not any(word in image for word in variables.hidden)}
        return bundle.with_images(ids, sayable)

    async def lost(self, bundle: Bundle) -> list[str]:
        """The images of a release that the engine does not have any more, for people."""
        return [
            f"{bundle.recipe.names.get(service, 'the image')} of {service} ({image})"
            for service, image in sorted(bundle.recipe.images.items())
            if await self.engine.image_id(image) is None
        ]

    async def bring(self, step: Step, bundle: Bundle, project: Project, *, gate: str, anew: bool) -> None:
        """Bring the project to a release that is kept, and wait until every service is well.

        Args:
            step: the step under way.
            bundle: the release.
            project: the project.
            gate: the name of the step's gate.
            anew: make every container anew.

        Raises:
            CommandFailed: it did not come up.
            SecretMissing: a secret is not there.
        """
        before = {member.id: member.restarts for member in await project.members()}
        async with bundle.unpacked() as folder:
            model, variables = await self._model(bundle.recipe, folder, project.name, step=step.name)
            await self.plugin.up(
                folder,
                armed(model, images=bundle.recipe.images, gate=gate),
                variables=variables,
                api_version=await self.engine.api_version(),
                anew=anew,
            )
        await project.comes_up(step.name, before=before, hidden=variables.hidden)

    async def _model(
        self, recipe: Recipe, folder: Path, project: str, *, step: str
    ) -> tuple[dict[str, Any], Variables]:
        variables = await asyncio.to_thread(recipe.variables, target=self.target, step=step)
        try:
            await asyncio.to_thread(check_files, folder, recipe.files, variables.values)
        except Astray as error:
            raise self._rejected(str(error)) from error
        model = await self.plugin.resolve(folder, recipe.files, project=project, variables=variables)
        try:
            model, files = carried(model, folder)
        except Unfit as error:
            raise self._rejected(str(error)) from error
        return model, variables.beside(files)

    async def _image(self, reference: str, release: Release) -> str:
        """The image's ID on the engine: out of the release's archive where that holds it, else pulled."""
        archive = release.image_archive
        found = await loaded(self.engine, reference, archive) if archive is not None else None
        return found or await pulled(self.engine, reference)

    def _read(self, release: Release) -> bytes:
        if release.artifact is None:
            raise self._rejected(f"{release.version} has no artifact: Compose needs release.artifact")
        path = check_artifact(release, target=self.target)
        size = path.stat().st_size
        if size > LARGEST:
            raise self._rejected(
                f"{path.name} has {size} bytes, and {LARGEST} is the most that is kept on an engine: "
                "bring images by a registry or release.image_archive"
            )
        return path.read_bytes()

    def _rejected(self, why: str) -> ArtifactRejected:
        return ArtifactRejected(f"{self.target}: {why}", target=self.target, step="stage")
