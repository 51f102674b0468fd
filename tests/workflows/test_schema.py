"""The manifest's JSON Schema: editors must accept what Fraisier accepts, and mark what it refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from fraisier.orchestrator.client import options_of
from fraisier.providers.registry import provider_names
from fraisier.workflows.manifest.patterns import FORMS
from fraisier.workflows.manifest.schema import manifest_schema

EXAMPLES = sorted(Path("examples").glob("*.yaml"))

GOOD = """
service: api
release: {version: "2.0.0", artifact: api.tar.gz}
waves: [{regions: [eu], soak: 1h30m, max_parallel: 50%}]
regions:
  eu:
    provider: bare_metal
    username: deploy
    jump: [bastion, {host: b, port: 22}]
    shared: {folders: [data]}
    env: {PORT: "80", PASSWORD: {secret: "env:PASSWORD"}}
    targets: [{host: a.example}, {host: b.example, port: 2222}]
    health: {http: "http://127.0.0.1/", status: 200, body: up, headers: {Server: {regex: nginx}}}
    traffic: {haproxy: {sockets: "unix:/run/haproxy.sock", backend: api}}
"""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = manifest_schema({name: options_of(name) for name in provider_names()})
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problems(validator: Draft202012Validator, text: str) -> list[str]:
    tree: Any = YAML(typ="safe").load(text)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(tree)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_fit(validator: Draft202012Validator, path: Path):
    assert problems(validator, path.read_text()) == []


def test_every_way_to_write_a_value_fits(validator: Draft202012Validator):
    assert problems(validator, GOOD) == []
    assert (
        problems(validator, GOOD.replace("[{regions: [eu], soak", "{progressive: [1, 50%], soak").replace("}]", "}", 1))
        == []
    )


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("soak: 1h30m", "soak: 90", "waves.0.soak"),
        ("soak: 1h30m", "soke: 90s", "soke"),
        ("max_parallel: 50%", "max_parallel: 150%", "waves.0.max_parallel"),
        ("port: 2222", "prot: 2222", "prot"),
        ("username: deploy", "engine: tcp://x", "engine"),
        ("status: 200", "status: 99", "regions.eu.health.status"),
        ("[{regions: [eu], soak: 1h30m, max_parallel: 50%}]", "{progressive: [1], soak: 90}", "waves.soak"),
    ],
)
def test_what_is_wrong_is_marked(validator: Draft202012Validator, right: str, wrong: str, named: str):
    found = problems(validator, GOOD.replace(right, wrong))
    assert found
    assert any(named in one for one in found), found


def test_editors_say_what_a_key_means(validator: Draft202012Validator):
    part = validator.schema["$defs"]["WavePart"]
    assert "Attributes" not in part["description"]
    assert part["properties"]["soak"]["description"].startswith("how long to wait")
    options = validator.schema["$defs"]["BareMetalOptions"]["properties"]
    assert options["sudo"]["description"].startswith("use ``sudo -n``")
    assert "SSH port" in options["port"]["description"]  # said by the class that it inherits from


def test_every_form_of_text_has_words(validator: Draft202012Validator):
    told_otherwise = {
        r"^((\d+(?:\.\d+)?)(ms|d|h|m|s))+$",
        "^(100|[0-9]{1,2})%$",
    }  # durations and counts say it themselves
    assert set(patterns(validator.schema)) - told_otherwise - FORMS.keys() == set()


def patterns(part: Any) -> Iterator[str]:
    if isinstance(part, dict) and isinstance(part.get("pattern"), str):
        yield part["pattern"]
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from patterns(inner)
