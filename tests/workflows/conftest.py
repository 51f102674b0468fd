"""Fixtures of the workflow tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.simulated import World
from tests.workflows.harness import Harness, run_worker
