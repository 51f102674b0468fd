"""Fixtures that every test may ask for; each stands in a module of tests/support."""

pytest_plugins = [
    "tests.support.browser",
    "tests.support.docker_engine",
    "tests.support.nats",
    "tests.support.releases",
    "tests.support.serving",
    "tests.support.systemd_hosts",
    "tests.support.temporal",
    "tests.support.workers",
]
