"""The bare-metal provider keeps the contract on a host that boots systemd, over OpenSSH."""

from pathlib import Path

import pytest

from fraisier.providers.testing import ProviderContract
from tests.providers.systemd_bench import SystemdBench
from tests.support.systemd_hosts import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.systemd]


class TestOverSystemd(ProviderContract):
    @pytest.fixture
    def bench(self, clean_hosts: list[SystemdHost], tmp_path: Path) -> SystemdBench:
        return SystemdBench(clean_hosts[0], tmp_path)
