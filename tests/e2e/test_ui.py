"""What a person sees in the Temporal UI, and a rollback sent from its page."""

import pytest
from playwright.async_api import Page, expect

from fraisier.orchestrator.stack import LocalStack
from fraisier.workflows.contracts import RolloutPhase
from tests.support.browser import shoot, show
from tests.workflows.harness import Harness, make_plan

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def test_the_page_tells_what_runs_and_takes_a_rollback(
    harness: Harness, local_stack: LocalStack, page: Page
) -> None:
    plan = make_plan(["us-east-1"], ["us-west-2", "eu-west-1"], targets=2, final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    base = f"{local_stack.env()['TEMPORAL_UI_URL']}/namespaces/default/workflows/{handle.id}/{handle.result_run_id}"

    await show(page, f"{base}/history", page.get_by_text("gate healthy after wave 1"))
    for text in ("gate healthy after wave 1", f"us-east-1: {plan.service} 2.0.0", "soak after wave 2"):
        await expect(page.get_by_text(text).first).to_be_visible()
    await shoot(page, "during")

    await show(page, f"{base}/user-metadata", page.get_by_role("button", name="More Actions"))
    details = page.frame_locator("iframe").locator("body")
    for text in (
        f"{plan.service} 2.0.0",
        "Waiting for the soak after the last wave; rollback is armed",
        "Regions: 3 succeeded.",
        "us-west-2",
        "health.check_passed: us-east-1 2 of 2",
    ):
        await expect(details).to_contain_text(text)
    await shoot(page, "details")

    await page.get_by_role("button", name="More Actions").click()
    await page.get_by_role("menuitem", name="Send a Signal").click()
    dialog = page.get_by_test_id("signal-confirmation-modal")
    await dialog.get_by_role("button", name="Select a signal").click()
    await shoot(page, "signals")
    await page.get_by_role("option", name="rollback").click()
    await dialog.get_by_role("button", name="Submit").click()

    result = await harness.finish(handle)
    assert (result.phase, result.reason) == (RolloutPhase.ROLLED_BACK, "rollback asked by a signal")
    assert set(harness.world.versions().values()) == {"1.0.0"}
    await show(page, f"{base}/history", page.get_by_text("rolled_back"))
    await expect(page.get_by_text("Completed").first).to_be_visible()
    await expect(page.get_by_text("rolled_back").first).to_be_visible()
    await shoot(page, "after")
