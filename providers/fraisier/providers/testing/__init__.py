"""The contract of a provider as tests, for whoever writes one: ``pip install 'fraisier[testing]'``.

::

    class TestMine(ProviderContract):
        @pytest.fixture
        def bench(self, tmp_path) -> Bench:
            return MyBench(tmp_path)
"""

import pytest

pytest.register_assert_rewrite(f"{__name__}.contract", f"{__name__}.failures")

from fraisier.providers.testing.contract import ProviderContract  # noqa: E402 (asserts are to be told in full)
from fraisier.providers.testing.rollout import IMPATIENT, QUICK, Bench, Rollout  # noqa: E402

__all__ = ["IMPATIENT", "QUICK", "Bench", "ProviderContract", "Rollout"]
