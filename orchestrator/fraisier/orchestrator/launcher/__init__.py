"""Finds the servers that Fraisier runs on: on this machine, by download, or by building a pinned version."""

from fraisier.orchestrator.launcher.errors import ServerNotFound
from fraisier.orchestrator.launcher.find import Found, find_server
from fraisier.orchestrator.launcher.home import fraisier_home
from fraisier.orchestrator.launcher.progress import Progress, silent

__all__ = ["Found", "Progress", "ServerNotFound", "find_server", "fraisier_home", "silent"]
