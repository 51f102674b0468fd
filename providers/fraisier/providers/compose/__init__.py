"""Compose projects on Docker engines, by way of the ``docker compose`` plugin."""

from fraisier.providers.compose.options import ComposeOptions
from fraisier.providers.compose.provider import ComposeProvider

__all__ = ["ComposeOptions", "ComposeProvider"]
