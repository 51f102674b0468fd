"""``fraisier init`` and ``fraisier schema``: the beginning of a manifest, and what editors know of it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fraisier.orchestrator.cli.run import fail, run
from fraisier.orchestrator.errors import ExitCode

TEMPLATE = "rollout.template.yaml"
SCHEMA = "rollout.schema.json"

Folder = Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")]
ServiceName = Annotated[str, typer.Option("--service", help="The service's name.")]


def init(folder: Folder = Path(), service: ServiceName = "api") -> None:
    """Write rollout.yaml, a manifest to start from, and the schema that editors check it with.

    Example: fraisier init --service shop
    """
    run(_init(folder, service))


def schema() -> None:
    """Print the manifest's JSON Schema, with the options of every provider that is installed here.

    Example: fraisier schema > rollout.schema.json
    """
    run(_schema())


def add_to(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(init)
    app.command()(schema)


async def _init(folder: Path, service: str) -> None:
    from importlib.resources import files  # noqa: PLC0415

    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    from fraisier.workflows.manifest.parts import Name  # noqa: PLC0415

    try:
        TypeAdapter(Name).validate_python(service)
    except ValidationError:
        fail(f"{service!r} is no service name: lower case, digits and dashes, such as api", ExitCode.INVALID)
    text = (files(__package__) / TEMPLATE).read_text().replace("SERVICE", service)
    manifest = folder / "rollout.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with manifest.open("x") as file:
            file.write(text)
        (folder / SCHEMA).write_text(_schema_text())
    except FileExistsError as error:
        fail(f"{error.filename} is there already; name another folder, or move it away", ExitCode.REFUSED)
    except OSError as error:
        fail(f"{error.filename} cannot be written: {error.strerror}; name another folder", ExitCode.FAILED)
    typer.echo(f"wrote {manifest} and {folder / SCHEMA}; edit the first, then: fraisier validate {manifest}")


async def _schema() -> None:
    typer.echo(_schema_text(), nl=False)


def _schema_text() -> str:
    from fraisier.providers.registry import load_provider, provider_names  # noqa: PLC0415
    from fraisier.workflows.manifest.schema import manifest_schema  # noqa: PLC0415

    found: dict[str, Any] = manifest_schema({name: load_provider(name).Options for name in provider_names()})
    return json.dumps(found, indent=2) + "\n"
