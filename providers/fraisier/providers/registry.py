"""Finds providers by name: ours and those that other distributions bring."""

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from fraisier.providers.base import Provider

logger = logging.getLogger(__name__)

GROUP = "fraisier.providers"
"""The entry-point group in which a distribution names its provider classes."""


class UnknownProvider(LookupError):
    """No installed distribution brings a provider of this name; the message lists those that are there."""


@cache
def load_provider(name: str) -> type[Provider]:
    """The provider class of this name, such as ``bare_metal``; looked up once in a process.

    Raises:
        UnknownProvider: nobody brings it, or two distributions do.
    """
    return cast("type[Provider]", _only(name, tuple(entry_points(group=GROUP, name=name))).load())


def provider_names() -> tuple[str, ...]:
    """The names of all installed providers, in order."""
    return tuple(sorted({found.name for found in entry_points(group=GROUP)}))


def import_providers() -> None:
    """Import every installed provider, so that no first step waits for it; one that cannot be is told of in the log."""
    for name in provider_names():
        try:
            load_provider(name)
        except BaseException as error:  # noqa: BLE001 (also sys.exit: who never asks for it must not suffer)
            logger.warning("provider %s cannot be had: %s", name, error)


def _only(name: str, found: tuple[EntryPoint, ...]) -> EntryPoint:
    different = {point.value: point for point in found}
    if not different:
        raise UnknownProvider(f"there is no provider {name}; installed: {', '.join(provider_names()) or 'none'}")
    if len(different) > 1:
        raise UnknownProvider(f"provider {name} is brought twice, by {' and '.join(sorted(different))}: remove one")
    return next(iter(different.values()))
