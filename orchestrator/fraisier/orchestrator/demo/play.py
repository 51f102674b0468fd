"""The demo: the main job in three acts, on a stack of its own."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fraisier.nats import Event
from fraisier.orchestrator.cli.render import LastLines, final_sentence, print_event, print_status_change
from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.connections import connections
from fraisier.orchestrator.demo.engine import docker_site
from fraisier.orchestrator.demo.fleet import REGIONS, Fleet, demo_fleet
from fraisier.orchestrator.demo.leftovers import claim, end_leftovers
from fraisier.orchestrator.demo.release import SERVICE, build_release
from fraisier.orchestrator.errors import CommandError, ExitCode
from fraisier.orchestrator.launcher import find_server, fraisier_home
from fraisier.orchestrator.settings import ARTIFACT_CACHE
from fraisier.orchestrator.stack import LocalStack
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.status import RolloutStatus

SOAK = "30s"
LONG_SOAK = "12h"


class DemoFailed(CommandError):
    """The demo did not go as it should: a defect."""


@dataclass(frozen=True)
class Stage:
    """What an act needs."""

    console: Console
    client: FraisierClient
    fleet: Fleet
    stack: LocalStack
    folder: Path

    async def manifest(self, version: str, *, healthy: bool = True, soak: str = "0s") -> Path:
        """Build a release and write the manifest that ships it."""
        release = {"version": version, "artifact": build_release(self.folder, version, healthy=healthy).name}
        if self.fleet.site is not None:
            release["image"] = await self.fleet.site.image(version)
        manifest = {
            "service": SERVICE,
            "release": release,
            "waves": [{"regions": [REGIONS[0]]}, {"regions": [*REGIONS[1:]], "soak": soak}],
            "decision_timeout": "0s",
            "regions": {name: self.fleet.region(name) for name in REGIONS},
        }
        path = self.folder / f"rollout-{version}.yaml"
        path.write_text(json.dumps(manifest, indent=2))  # JSON is YAML
        return path

    async def roll(self, manifest: Path, *, rollback: bool = False) -> RolloutStatus:
        """Start a rollout and show it to its end; with `rollback`, signal it during its last soak."""
        handle = await self.client.start(manifest, actor="demo")
        last: RolloutStatus | None = None
        last_lines = LastLines()
        async for news in self.client.watch(SERVICE):
            if isinstance(news, Event):
                print_event(self.console, news, last_lines)
                continue
            print_status_change(self.console, last, news)
            if rollback and news.phase is RolloutPhase.SOAKING:
                self.console.print("          → signal: rollback", style="bold yellow")
                await handle.signal(RolloutWorkflow.rollback, {"by": "demo", "reason": "to show it"})
                rollback = False
            last = news
        if last is None:
            raise DemoFailed("the rollout had no status")
        self.console.print(
            f"          {last_lines.once(final_sentence(last))}", style="bold", highlight=False, soft_wrap=True
        )
        return last

    async def show(self, expected: str) -> None:
        """Ask every host what it runs, print it, and fail when it is not as expected.

        Raises:
            DemoFailed: a host runs something else.
        """
        found = await self.fleet.versions()
        table = Table("region", "target 1", "target 2", title="asked of the hosts themselves", title_justify="left")
        for region, versions in found.items():
            table.add_row(region, *versions)
        self.console.print(table)
        if {version for versions in found.values() for version in versions} != {expected}:
            raise DemoFailed(f"every host should run {expected}; see {self.stack.folder} for the logs")


async def play(*, keep: bool) -> ExitCode:
    """Play all acts and end; with `keep`, leave everything up until ^C."""
    console = Console()
    async with _stage(console) as stage:
        await _acts(stage)
        console.print(
            "\n[bold green]Done:[/bold green] a rollout, a failing release that went back by itself, "
            "and a rollback by one signal."
        )
        if keep:
            await _play_on(stage)
    return ExitCode.OK


@asynccontextmanager
async def _stage(console: Console) -> AsyncIterator[Stage]:
    home = fraisier_home()
    home.mkdir(parents=True, exist_ok=True)
    await end_leftovers(home, lambda line: console.print(line, style="dim"))
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=home))
    claim(folder)
    os.environ[ARTIFACT_CACHE] = str(folder / "artifacts")
    try:
        async with (
            LocalStack.ephemeral(folder, lambda line: console.print(line, style="dim"), worker=True) as stack,
            docker_site((await find_server("nats-server")).path) as (site, which),
            demo_fleet(folder, site) as fleet,
        ):
            console.print(which, style="dim", highlight=False)
            os.environ.update(stack.env())
            console.print(f"\n[bold]Temporal UI: {stack.ui_url}[/bold]\n")
            async with connections() as to:
                yield Stage(console, FraisierClient(to), fleet, stack, folder)
    except asyncio.CancelledError:
        console.print("\nending all of it", style="dim")
        raise
    finally:
        shutil.rmtree(folder)


async def _acts(stage: Stage) -> None:
    say = stage.console.rule
    say("[bold]1. A good release goes out, wave by wave[/bold]", align="left")
    _expect(await stage.roll(await stage.manifest("1.0.0")), RolloutPhase.SUCCEEDED)
    await stage.show("1.0.0")
    say("[bold]2. A release that is not healthy goes back by itself; later regions never see it[/bold]", align="left")
    _expect(await stage.roll(await stage.manifest("2.0.0", healthy=False)), RolloutPhase.FAILED)
    await stage.show("1.0.0")
    say("[bold]3. A release is in every region, and one signal takes it back[/bold]", align="left")
    _expect(await stage.roll(await stage.manifest("3.0.0", soak=SOAK), rollback=True), RolloutPhase.ROLLED_BACK)
    await stage.show("1.0.0")


def _expect(status: RolloutStatus, phase: RolloutPhase) -> None:
    if status.phase is not phase:
        raise DemoFailed(f"the rollout of {status.version} should have ended as {phase.value}: {status.reason}")


def _ourselves() -> str:
    """How this command is called from here: by name where it is on the path."""
    own = Path(sys.executable).with_name("fraisier")
    return "fraisier" if shutil.which("fraisier") or not own.exists() else str(own)


async def _play_on(stage: Stage) -> None:
    """Start a rollout with a long last soak, say what to try, and wait for ^C."""
    handle = await stage.client.start(await stage.manifest("4.0.0", soak=LONG_SOAK), actor="demo")
    temporal = (await find_server("temporal")).path
    address = stage.stack.env()["TEMPORAL_ADDRESS"]
    stage.console.print(
        f"\nEverything stays up until ^C. A rollout of 4.0.0 runs and will wait in its last soak:\n"
        f"  {stage.stack.ui_url}/namespaces/default/workflows/{handle.id}\n\nTake it back in any of these ways:\n"
        f"  in the UI:  More Actions, Send a Signal, rollback\n"
        f"  {temporal} workflow signal --address {address} --workflow-id {handle.id} --name rollback\n"
        f"  FRAISIER_HOME={stage.folder} {_ourselves()} rollback {SERVICE}\n\nWatch it:\n"
        f"  FRAISIER_HOME={stage.folder} {_ourselves()} rollout watch {SERVICE}",
        highlight=False,
        soft_wrap=True,
    )
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        stage.console.print("\nending all of it", style="dim")
