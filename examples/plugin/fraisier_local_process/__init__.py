"""A provider for Fraisier that runs a release as a process on the worker's own machine."""

from fraisier_local_process.options import LocalProcessOptions
from fraisier_local_process.provider import LocalProcessProvider

__all__ = ["LocalProcessOptions", "LocalProcessProvider"]
