import pytest

from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.docker import DockerProvider
from fraisier.providers.registry import UnknownProvider, load_provider, provider_names


def test_our_own_providers_are_found_by_name():
    assert load_provider("bare_metal") is BareMetalProvider
    assert load_provider("docker") is DockerProvider
    assert {"bare_metal", "docker"} <= set(provider_names())


def test_an_unknown_provider_is_refused_with_those_that_are_there():
    with pytest.raises(UnknownProvider, match="no provider podman; installed: bare_metal, compose, docker"):
        load_provider("podman")
