"""What the tests of Compose do again and again."""

from typing import Any

from fraisier.providers.compose import ComposeProvider
from fraisier.providers.models import Release
from fraisier.providers.testing import Rollout
from tests.providers.compose_bench import ComposeBench
from tests.providers.docker_bench import build_image
from tests.support.docker_engine import Engine

SLEEPS: dict[str, Any] = {"command": ["sleep", "10000"], "init": True, "stop_grace_period": "1s"}
"""A service that does nothing, for long."""


async def connected(bench: ComposeBench, **changed: object) -> ComposeProvider:
    provider = bench.provider(**changed)
    await provider.connect()
    return provider


async def activate(provider: ComposeProvider, bench: ComposeBench, generation: int, release: Release) -> None:
    rollout = Rollout(bench, generation=generation)
    await provider.stage(rollout.step("stage"), release)
    await provider.activate(rollout.step("activate"), release)


def ill(command: str) -> dict[str, Any]:
    """A health check that is asked often, and believed at once."""
    return {"test": ["CMD", "sh", "-c", command], "interval": "1s", "retries": 1}


def image(engine: Engine) -> str:
    return build_image(engine, "1.0.0")
