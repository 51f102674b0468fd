"""What every provider promises, as tests over a real target."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.providers.base import Provider
from fraisier.providers.errors import StaleToken
from fraisier.providers.models import HealthCheck, StepResult
from fraisier.providers.testing.failures import FailureContract
from fraisier.providers.testing.rollout import IMPATIENT, QUICK, Bench, Rollout
from fraisier.providers.testing.server import jetstream
from fraisier.providers.traffic.models import Traffic


class ProviderContract(FailureContract):
    """All of the contract's tests. A provider's own tests subclass it and bring a fixture ``bench``."""

    @pytest.fixture
    async def provider(self, bench: Bench) -> AsyncIterator[Provider]:
        """A connected provider of the bench's target."""
        provider = bench.provider()
        await provider.connect()
        yield provider
        await provider.disconnect()

    @pytest.fixture
    async def event_bus(self, tmp_path: Path) -> AsyncIterator[NatsEventBus]:
        """A bus on a server of its own."""
        async with jetstream(tmp_path / "nats") as url, NatsClient([url]) as client:
            yield NatsEventBus(client)

    async def test_it_speaks_the_protocol(self, provider: Provider) -> None:
        assert isinstance(provider, Provider)

    async def test_a_fresh_target_runs_nothing(self, bench: Bench, provider: Provider) -> None:
        state = await provider.inspect(bench.service)
        assert (state.release, state.kept, state.token, state.since) == (None, (), None, None)
        await provider.preflight(bench.release("1.0.0"))
        assert await provider.inspect(bench.service) == state

    async def test_a_release_is_staged_then_activated_then_healthy(self, bench: Bench, provider: Provider) -> None:
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        assert (await provider.stage(rollout.step("stage"), release)).changed
        assert await bench.serving() == ""
        assert (await provider.inspect(bench.service)).release is None
        assert (await provider.activate(rollout.step("activate"), release)).changed
        check = HealthCheck(http=bench.url, expect_version=True, **QUICK)
        health = await provider.check_health(rollout.step("health"), release.ref, check)
        assert health.healthy, health.detail
        assert health.attempts >= 2
        assert await bench.serving() == "1.0.0"
        state = await provider.inspect(bench.service)
        assert (state.release, state.rollout_id) == (release.ref, "r1")
        assert state.since is not None
        assert state.token == rollout.step("activate").token

    async def test_staging_changes_nothing_that_runs(self, bench: Bench, provider: Provider) -> None:
        first = bench.release("1.0.0")
        await Rollout(bench, generation=1).deploy(provider, first)
        before = await bench.instance()
        await provider.stage(Rollout(bench, generation=2).step("stage"), bench.release("2.0.0"))
        assert (await bench.serving(), await bench.instance()) == ("1.0.0", before)
        assert (await provider.inspect(bench.service)).release == first.ref

    async def test_a_repeated_step_returns_what_was_recorded(self, bench: Bench, provider: Provider) -> None:
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        for name, act in (("stage", provider.stage), ("activate", provider.activate)):
            first = await act(rollout.step(name), release)
            before = await bench.instance()
            again = await act(rollout.step(name, attempt=2), release)
            assert again == first
            assert again.changed
            assert await bench.instance() == before

    async def test_what_already_runs_is_left_alone(self, bench: Bench, provider: Provider) -> None:
        release = bench.release("1.0.0")
        await Rollout(bench, generation=1).deploy(provider, release)
        before = await bench.instance()
        again = Rollout(bench, generation=2, rollout_id="r2")
        assert not (await provider.stage(again.step("stage"), release)).changed
        assert not (await provider.activate(again.step("activate"), release)).changed
        assert await bench.instance() == before

    async def test_its_proxy_is_asked_before_and_after_it_changes(
        self, bench: Bench, provider: Provider, tmp_path: Path
    ) -> None:
        rollout, release, told = Rollout(bench, generation=1), bench.release("1.0.0"), tmp_path / "told"
        note = ["sh", "-c", f'echo "$0 $1" >>{told}']
        traffic = Traffic(
            command={"drain": [*note, "out", "{server}"], "undrain": [*note, "in", "{server}"]}, servers={"t1": "web1"}
        )
        await provider.stage(rollout.step("stage"), release)
        await provider.drain(rollout.step("drain"), traffic)
        assert await bench.serving() == ""
        assert (await provider.activate(rollout.step("activate"), release)).changed
        await provider.undrain(rollout.step("undrain"), traffic)
        assert told.read_text() == "out web1\nin web1\n"
        assert (await provider.inspect(bench.service)).token == rollout.step("undrain").token

    async def test_an_older_token_is_refused_before_it_acts(self, bench: Bench, provider: Provider) -> None:
        old, new = bench.release("1.0.0"), bench.release("2.0.0")
        zombie = Rollout(bench, generation=1)
        await zombie.deploy(provider, old)
        await Rollout(bench, generation=2, rollout_id="r2").deploy(provider, new)
        state, before = await provider.inspect(bench.service), await bench.instance()
        with pytest.raises(StaleToken, match=r"2\.3|2\.2"):
            await provider.activate(zombie.step("activate", attempt=9), old)
        with pytest.raises(StaleToken):
            await provider.stage(zombie.step("stage", attempt=9), bench.release("3.0.0"))
        with pytest.raises(StaleToken):
            await provider.rollback(zombie.step("rollback", attempt=9), old.ref)
        with pytest.raises(StaleToken):
            await provider.rollback(zombie.step("rollback", attempt=9), None)
        with pytest.raises(StaleToken):
            await provider.drain(
                zombie.step("drain", attempt=9), Traffic(command={"drain": ["false"], "undrain": ["false"]})
            )
        with pytest.raises(StaleToken):
            await provider.prune(zombie.step("prune", attempt=9), bench.service)
        assert await provider.inspect(bench.service) == state
        assert (await bench.serving(), await bench.instance()) == ("2.0.0", before)

    async def test_an_older_attempt_at_the_same_step_is_refused(self, bench: Bench, provider: Provider) -> None:
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        await provider.stage(rollout.step("stage", attempt=2), release)
        with pytest.raises(StaleToken):
            await provider.stage(rollout.step("stage", attempt=1), release)

    async def test_racing_attempts_start_the_service_once(self, bench: Bench, provider: Provider) -> None:
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        await provider.stage(rollout.step("stage"), release)
        other = bench.provider()
        await other.connect()
        try:
            ended = await asyncio.gather(
                provider.activate(rollout.step("activate", attempt=1), release),
                other.activate(rollout.step("activate", attempt=2), release),
                return_exceptions=True,
            )
        finally:
            await other.disconnect()
        assert all(isinstance(one, StaleToken) or (isinstance(one, StepResult) and one.changed) for one in ended), ended
        assert isinstance(ended[1], StepResult)
        check = HealthCheck(http=bench.url, **QUICK)
        assert (await provider.check_health(rollout.step("health"), release.ref, check)).healthy
        assert (await provider.inspect(bench.service)).release == release.ref

    async def test_a_rollback_returns_to_the_kept_release(self, bench: Bench, provider: Provider) -> None:
        old, new = bench.release("1.0.0"), bench.release("2.0.0")
        await Rollout(bench, generation=1).deploy(provider, old)
        await Rollout(bench, generation=2, rollout_id="r2").deploy(provider, new)
        assert (await provider.inspect(bench.service)).kept == (old.ref,)
        back = Rollout(bench, generation=3, rollout_id="r2")
        assert (await provider.rollback(back.step("rollback"), old.ref)).changed
        check = HealthCheck(http=bench.url, expect_version=True, **QUICK)
        assert (await provider.check_health(back.step("verify"), old.ref, check)).healthy
        assert await bench.serving() == "1.0.0"
        state = await provider.inspect(bench.service)
        assert (state.release, state.rollout_id, state.kept) == (old.ref, "r2", (new.ref,))
        assert (await provider.rollback(back.step("rollback", attempt=2), old.ref)).changed

    async def test_a_rollback_of_the_first_release_leaves_nothing_running(
        self, bench: Bench, provider: Provider
    ) -> None:
        await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))
        assert (await provider.rollback(Rollout(bench, generation=2).step("rollback"), None)).changed
        assert await bench.serving() == ""
        assert (await provider.inspect(bench.service)).release is None
        assert not (await provider.rollback(Rollout(bench, generation=3).step("rollback"), None)).changed

    async def test_an_untouched_target_says_so(self, bench: Bench, provider: Provider) -> None:
        old = bench.release("1.0.0")
        await Rollout(bench, generation=1).deploy(provider, old)
        before = await bench.instance()
        await provider.stage(Rollout(bench, generation=2).step("stage"), bench.release("2.0.0"))
        assert not (await provider.rollback(Rollout(bench, generation=3).step("rollback"), old.ref)).changed
        assert await bench.instance() == before

    async def test_failed_probes_are_told_a_few_times(
        self, bench: Bench, provider: Provider, event_bus: NatsEventBus
    ) -> None:
        rollout, release = Rollout(bench, generation=1, rollout_id=f"retried-{id(bench):x}"), bench.release("1.0.0")
        await rollout.deploy(provider, release)
        telling = bench.provider(event_bus)
        await telling.connect()
        hopeless = HealthCheck(http=bench.silent_url, **{**IMPATIENT, "progress_deadline": timedelta(seconds=2)})
        health = await telling.check_health(rollout.step("verify"), release.ref, hopeless)
        await telling.disconnect()
        told = await rollout.told(event_bus, "health")
        failures = [event.data["failures"] for event in told if event.event_type == "health.check_retried"]
        assert failures == [number for number in (1, 2, 4, 8, 16, 32) if number < health.attempts]

    async def test_tcp_and_command_prove_health_too(self, bench: Bench, provider: Provider) -> None:
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        await rollout.deploy(provider, release)
        for check, healthy in (
            (HealthCheck(tcp=bench.url.split("/")[2], **QUICK), True),
            (HealthCheck(command=("sh", "-c", "exit 0"), **QUICK), True),
            (HealthCheck(command=("sh", "-c", "echo it is broken; exit 3"), **IMPATIENT), False),
        ):
            health = await provider.check_health(rollout.step("verify"), release.ref, check)
            assert health.healthy == healthy, health.detail
        assert "it is broken" in health.detail

    async def test_old_releases_are_pruned_and_the_last_ones_kept(self, bench: Bench, provider: Provider) -> None:
        releases = [bench.release(f"{number}.0.0") for number in range(1, 6)]
        for generation, release in enumerate(releases, start=1):
            await Rollout(bench, generation=generation).deploy(provider, release)
        before = await bench.instance()
        step = Rollout(bench, generation=len(releases)).step("prune")
        assert (await provider.prune(step, bench.service)).changed
        state = await provider.inspect(bench.service)
        assert state.release == releases[4].ref
        assert state.kept == (releases[3].ref, releases[2].ref)
        assert await bench.instance() == before

    async def test_a_lost_connection_is_opened_again(self, bench: Bench, provider: Provider) -> None:
        await provider.disconnect()
        await provider.disconnect()
        await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))

    async def test_every_step_tells_once(self, bench: Bench, event_bus: NatsEventBus) -> None:
        provider, rollout = bench.provider(event_bus), Rollout(bench, generation=1, rollout_id=f"events-{id(bench):x}")
        release = bench.release("1.0.0")
        await provider.connect()
        try:
            await rollout.deploy(provider, release)
            await provider.activate(rollout.step("activate", attempt=2), release)
            # What was stored is the verdict, whatever a second look would see; a step that is offered anew counts anew.
            hopeless = HealthCheck(http=bench.silent_url, **IMPATIENT)
            for attempt in (1, 2):
                step = rollout.step("health", attempt=attempt)
                assert (await provider.check_health(step, release.ref, hopeless)).healthy
            back = Rollout(bench, generation=2, rollout_id=rollout.rollout_id)
            await provider.rollback(back.step("rollback"), None)
        finally:
            await provider.disconnect()
        told = await rollout.told(event_bus, "deployment", "health")
        # A service that starts slowly is probed again, and that is told too.
        told = [event for event in told if event.event_type != "health.check_retried"]
        assert [str(event.event_type) for event in told] == [
            "deployment.started",
            "deployment.completed",
            "deployment.rolled_back",
            "health.check_started",
            "health.check_passed",
        ]
        assert {event.target for event in told} == {"t1"}
        assert {event.data["scope"] for event in told} == {"target"}
        assert [event.data["release_digest"] for event in told[:2]] == [release.digest] * 2
        assert told[0].data["generation"] == 1
        assert told[2].data["generation"] == 2
