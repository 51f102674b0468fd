"""The bare-metal provider keeps the contract on a host without systemd, over real SSH."""

import pytest

from fraisier.providers.testing import ProviderContract
from tests.providers.ssh_bench import SshBench


class TestOverSsh(ProviderContract):
    @pytest.fixture
    def bench(self, ssh_bench: SshBench) -> SshBench:
        return ssh_bench
