import logging
from importlib.metadata import EntryPoint, entry_points

import pytest

from fraisier.providers import registry
from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.docker import DockerProvider
from fraisier.providers.registry import UnknownProvider, import_providers, load_provider, provider_names


def test_our_own_providers_are_found_by_name():
    assert load_provider("bare_metal") is BareMetalProvider
    assert load_provider("docker") is DockerProvider
    assert {"bare_metal", "docker"} <= set(provider_names())


def test_an_unknown_provider_is_refused_with_those_that_are_there():
    with pytest.raises(UnknownProvider, match="no provider podman; installed: bare_metal, compose, docker"):
        load_provider("podman")


def test_a_provider_that_cannot_be_imported_is_told_of_and_keeps_no_other_from_being_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def with_a_broken_one(**asked: str) -> tuple[EntryPoint, ...]:
        broken = EntryPoint(name="broken", value="fraisier_broken:Provider", group=registry.GROUP)
        return tuple(
            one for one in (broken, *entry_points(group=registry.GROUP)) if one.name == asked.get("name", one.name)
        )

    monkeypatch.setattr(registry, "entry_points", with_a_broken_one)
    load_provider.cache_clear()
    with caplog.at_level(logging.WARNING):
        import_providers()
    assert caplog.messages == ["provider broken cannot be had: No module named 'fraisier_broken'"]
    assert load_provider.cache_info().currsize == len(provider_names()) - 1
