"""A real browser, driven by Playwright."""

import os
import shutil
import sys
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
"""No sandbox, for tests may run as root; no shared memory, for containers have little of it; nothing but loopback."""

TRIES = 5

SLOW_MS = 90_000
"""How long a page may take to show something on a machine with two busy cores."""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a browser with an empty profile, large enough to read a workflow on."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert chromium, "there is no Chromium: apt-get install chromium, or run make setup-tests"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*QUIET])
        try:
            opened = await browser.new_page(viewport={"width": 1400, "height": 1300})
            opened.set_default_timeout(SLOW_MS)
            expect.set_options(timeout=SLOW_MS)
            yield opened
            sys.stdout.write(f"{opened.url} at the end:\n{await opened.inner_text('body')}\n")  # read after a failure
        finally:
            await browser.close()


async def show(page: Page, url: str, wanted: Locator) -> None:
    """Open a page of the UI and wait for something on it.

    One that the UI's server could not make says "Uh oh" for ever: it is asked for again, as a person does.
    """
    broken = page.get_by_text("Uh oh")
    for _ in range(TRIES):
        await page.goto(url)
        await expect(wanted.or_(broken).first).to_be_visible()
        if not await broken.count():
            return
    pytest.fail(f"{url} could not be made {TRIES} times")


async def shoot(page: Page, name: str) -> None:
    """Keep a picture of the page in the folder FRAISIER_SHOTS, when it is set."""
    folder = os.environ.get("FRAISIER_SHOTS")
    if folder:
        await page.screenshot(path=f"{folder}/{name}.png", full_page=True)
