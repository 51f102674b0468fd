"""What every provider promises of releases that cannot be had or are not healthy, as tests over a real target."""

from datetime import timedelta

import pytest

from fraisier.providers.base import Provider
from fraisier.providers.errors import ReleaseMissing
from fraisier.providers.models import HealthCheck, ReleaseRef
from fraisier.providers.testing.rollout import IMPATIENT, QUICK, Bench, Rollout


class FailureContract:
    """The contract's tests of what fails; a part of `ProviderContract`, which brings their fixtures."""

    async def test_a_release_that_is_gone_cannot_be_returned_to(self, bench: Bench, provider: Provider) -> None:
        await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))
        gone = ReleaseRef(version="0.9.0", digest="sha256:" + "9" * 64)
        with pytest.raises(ReleaseMissing, match=r"0\.9\.0"):
            await provider.rollback(Rollout(bench, generation=2).step("rollback"), gone)
        assert await bench.serving() == "1.0.0"

    async def test_what_was_not_staged_cannot_be_activated(self, bench: Bench, provider: Provider) -> None:
        with pytest.raises(ReleaseMissing):
            await provider.activate(Rollout(bench, generation=1).step("activate"), bench.release("1.0.0"))
        assert await bench.serving() == ""

    async def test_a_refused_activate_leaves_the_old_release_serving(self, bench: Bench, provider: Provider) -> None:
        old = bench.release("1.0.0")
        await Rollout(bench, generation=1).deploy(provider, old)
        before = await bench.instance()
        with pytest.raises(ReleaseMissing):
            await provider.activate(Rollout(bench, generation=2).step("activate"), bench.release("2.0.0"))
        assert (await bench.serving(), await bench.instance()) == ("1.0.0", before)
        assert (await provider.inspect(bench.service)).release == old.ref
        back = Rollout(bench, generation=3)
        await provider.rollback(back.step("rollback"), old.ref)
        check = HealthCheck(http=bench.url, expect_version=True, **QUICK)
        assert (await provider.check_health(back.step("verify"), old.ref, check)).healthy

    async def test_an_unhealthy_release_gives_way_to_the_old_one(self, bench: Bench, provider: Provider) -> None:
        old, bad = bench.release("1.0.0"), bench.release("2.0.0", healthy=False)
        await Rollout(bench, generation=1).deploy(provider, old)
        before, rollout = await bench.instance(), Rollout(bench, generation=2)
        await provider.stage(rollout.step("stage"), bad)
        assert (await bench.serving(), await bench.instance()) == ("1.0.0", before)
        await provider.activate(rollout.step("activate"), bad)
        impatient = HealthCheck(http=bench.url, **IMPATIENT)
        assert not (await provider.check_health(rollout.step("health"), bad.ref, impatient)).healthy
        back = Rollout(bench, generation=3)
        assert (await provider.rollback(back.step("rollback"), old.ref)).changed
        check = HealthCheck(http=bench.url, expect_version=True, **QUICK)
        assert (await provider.check_health(back.step("verify"), old.ref, check)).healthy
        assert await bench.serving() == "1.0.0"
        state = await provider.inspect(bench.service)
        assert (state.release, state.kept) == (old.ref, (bad.ref,))

    async def test_an_error_from_the_service_is_not_health(self, bench: Bench, provider: Provider) -> None:
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0", healthy=False)
        await provider.stage(rollout.step("stage"), release)
        await provider.activate(rollout.step("activate"), release)
        check = HealthCheck(http=bench.url, **{**IMPATIENT, "progress_deadline": timedelta(seconds=3)})
        health = await provider.check_health(rollout.step("health"), release.ref, check)
        assert not health.healthy
        assert not health.timed_out
        assert "HTTP " in health.detail

    async def test_silence_is_a_timeout(self, bench: Bench, provider: Provider) -> None:
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        await rollout.deploy(provider, release)
        for check in (
            HealthCheck(http=bench.silent_url, **IMPATIENT),
            HealthCheck(tcp=bench.silent_url.split("/")[2], **IMPATIENT),
        ):
            health = await provider.check_health(rollout.step("verify"), release.ref, check)
            assert (health.healthy, health.timed_out) == (False, True), health.detail

    async def test_another_version_that_answers_is_not_health(self, bench: Bench, provider: Provider) -> None:
        await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))
        wanted = bench.release("2.0.0").ref
        check = HealthCheck(http=bench.url, expect_version=True, **IMPATIENT)
        health = await provider.check_health(Rollout(bench, generation=1).step("verify"), wanted, check)
        assert not health.healthy
        assert "not version 2.0.0" in health.detail
