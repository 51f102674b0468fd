"""Fixtures that every test may ask for; each stands in a module of tests/support. And who runs beside whom."""

import pytest

pytest_plugins = [
    "tests.support.browser",
    "tests.support.cli",
    "tests.support.docker_engine",
    "tests.support.harness",
    "tests.support.nats",
    "tests.support.postgres",
    "tests.support.production",
    "tests.support.releases",
    "tests.support.serving",
    "tests.support.systemd_hosts",
    "tests.support.temporal",
    "tests.support.web_page",
    "tests.support.workers",
]

ENGINE = {"docker", "systemd"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under `make test`, which runs two tests at a time: those of one engine after each other, as those of one file."""
    for item in items:
        marked = ENGINE & {mark.name for mark in item.iter_markers()}
        item.add_marker(pytest.mark.xdist_group("engine" if marked else item.path.name))
