"""A part of ``make faults`` that is always the same, in every test run: rollouts survive what breaks around them."""

import asyncio
import re
import sys

import pytest

from tests.faults.ground import ROOT
from tests.faults.invariants.check import INVARIANTS
from tests.faults.matrix import ROWS

CHOSEN = ("worker-kill", "nats-stop")
AT_ONCE = 5


def test_every_row_and_invariant_is_told_of():
    text = (ROOT / "docs" / "faults.md").read_text()
    assert [name for name in ROWS if f"| `{name}` |" not in text] == []
    assert [number for number in INVARIANTS if f"| {number} |" not in text] == []


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_rollouts_survive_what_breaks_around_them_at_their_places():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults", *CHOSEN, "--seed", "1", "--at-once", str(AT_ONCE),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
    )  # fmt: skip
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    runs, injected, violations = re.findall(r"^all +(\d+) +(\d+) +(\d+)", told, re.MULTILINE)[0]
    assert (int(runs), int(violations)) == (len(CHOSEN), 0)
    assert int(injected) > len(CHOSEN) * AT_ONCE // 2, told
