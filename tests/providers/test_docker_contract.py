"""The Docker provider keeps the contract on a real engine."""

import pytest

from fraisier.providers.testing import ProviderContract
from tests.providers.docker_bench import DockerBench
from tests.providers.ssh_bench import free_port

pytestmark = pytest.mark.docker


class TestSideBySide(ProviderContract):
    @pytest.fixture
    def bench(self, docker_bench: DockerBench) -> DockerBench:
        return docker_bench


class TestOneAfterTheOther(ProviderContract):
    """With a published port two containers cannot run at once."""

    @pytest.fixture
    def bench(self, docker_bench: DockerBench) -> DockerBench:
        docker_bench.options = {"ports": [f"127.0.0.1:{free_port()}:8080"]}
        return docker_bench
