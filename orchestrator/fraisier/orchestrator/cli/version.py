"""``fraisier --version``."""

from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the option."""
    app.callback()(_version)


def _tell(wanted: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if not wanted:
        return
    import platform  # noqa: PLC0415
    from importlib.metadata import version  # noqa: PLC0415

    from fraisier.orchestrator.launcher.versions import PROGRAMS  # noqa: PLC0415

    typer.echo(f"fraisier {version('fraisier')}, Python {platform.python_version()}")
    servers = ", ".join(f"{name} {PROGRAMS[name].version}" for name in ("nats-server", "temporal"))
    typer.echo(f"where fraisier up finds no recent ones, it fetches: {servers}")
    raise typer.Exit


def _version(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell, is_eager=True, help="Show the versions of all this, and exit.")
    ] = False,
) -> None:
    """Nothing but the options that stand before a command."""
