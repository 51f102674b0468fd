"""Bare-metal hosts over SSH."""

from fraisier.providers.bare_metal.options import BareMetalOptions
from fraisier.providers.bare_metal.provider import BareMetalProvider

__all__ = ["BareMetalOptions", "BareMetalProvider"]
