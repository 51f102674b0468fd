"""``fraisier codec-server``."""

import os
from typing import Annotated

import typer

from fraisier.orchestrator.cli.run import run

LOOPBACK = ("127.0.0.1", "::1", "localhost")
TOKEN = "FRAISIER_CODEC_TOKEN"  # noqa: S105 (a variable's name)


def codec_server(
    address: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port there.", min=0, max=65535)] = 8234,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="The origin of a UI whose pages may ask; repeatable. The local one unless given."),
    ] = None,
) -> None:
    """Show people in the Temporal UI what is encrypted: decodes payloads with the keys of FRAISIER_PAYLOAD_KEYS.

    Set its address in the UI, under Codec Server. Whoever reaches it can read everything, so it listens on this
    machine only, unless FRAISIER_CODEC_TOKEN holds a token that each request must bring.

    Example: fraisier codec-server
    """
    os.environ.setdefault("FRAISIER_LOG_LEVEL", "INFO")
    run(_codec_server(address, port, origin or []))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("codec-server")(codec_server)


async def _codec_server(address: str, port: int, origins: list[str]) -> None:
    import logging  # noqa: PLC0415

    from fraisier.orchestrator.codec_server import serving  # noqa: PLC0415
    from fraisier.orchestrator.errors import Invalid  # noqa: PLC0415
    from fraisier.orchestrator.settings import key_ring  # noqa: PLC0415
    from fraisier.orchestrator.stopping import stop_on_signals  # noqa: PLC0415
    from fraisier.workflows.payloads import VARIABLE, Sealing  # noqa: PLC0415

    ring, token = key_ring(), os.environ.get(TOKEN, "")
    if ring is None:
        raise Invalid(f"nothing is encrypted: {VARIABLE} names no keys, so there is nothing to decode")
    if address not in LOOPBACK and not token:
        raise Invalid(f"whoever reaches {address} could read every payload: set {TOKEN}, and put TLS in front")
    ui = os.environ.get("TEMPORAL_UI_URL", "http://localhost:8233").rstrip("/")
    with serving(Sealing(ring), address, port, origins=origins or [ui], token=token) as url, stop_on_signals() as stop:
        logging.getLogger(__name__).info("codec server at %s for pages of %s", url, ", ".join(origins or [ui]))
        await stop.wait()
