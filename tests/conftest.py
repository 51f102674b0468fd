"""Fixtures that every test may ask for; each stands in a module of tests/support."""

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
