"""All rows: importing a module of faults enters its rows."""

from tests.faults import cluster_faults, host_faults, machine, messages, network, streams  # noqa: F401
from tests.faults.rows import ROWS

__all__ = ["ROWS"]
