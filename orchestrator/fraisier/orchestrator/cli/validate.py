"""``fraisier validate``."""

from pathlib import Path
from typing import Annotated

import typer

from fraisier.orchestrator.cli.run import run

ManifestPath = Annotated[Path, typer.Argument(help="The manifest, such as rollout.yaml.", show_default=False)]


def validate(manifest: ManifestPath) -> None:
    """Check a manifest without touching anything: every problem with its line and the way out.

    Example: fraisier validate rollout.yaml
    """
    run(_validate(manifest))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


async def _validate(path: Path) -> None:
    from fraisier.orchestrator.client import load_checked  # noqa: PLC0415

    manifest = load_checked(path)
    targets = sum(len(region.targets) for region in manifest.regions.values())
    waves = " → ".join(", ".join(wave.regions) for wave in manifest.each_wave)
    typer.echo(f"{path}: good: {manifest.service} {manifest.release.version}, {targets} targets, waves {waves}")
