"""The Compose provider keeps the contract on a real engine, by the real plugin."""

import pytest

from fraisier.providers.testing import ProviderContract
from tests.providers.compose_bench import ComposeBench

pytestmark = pytest.mark.docker


class TestProject(ProviderContract):
    @pytest.fixture
    def bench(self, compose_bench: ComposeBench) -> ComposeBench:
        return compose_bench
