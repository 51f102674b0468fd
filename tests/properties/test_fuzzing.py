"""Whatever comes from outside: it is understood, or refused by the one error that is documented, and nothing else.

``FRAISIER_EXAMPLES=100`` tries a hundred times as much. What was found stands as an example at its test.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import celpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from fraisier.nats import Event, get_nats_config, new_event
from fraisier.nats.config import ConfigInvalid, HandlerConfig
from fraisier.nats.errors import EventInvalid, WebhookRefused
from fraisier.nats.subjects import Subject
from fraisier.nats.webhook import post
from fraisier.orchestrator.client import load_checked
from fraisier.providers.bare_metal import script
from fraisier.workflows.manifest.errors import ManifestInvalid
from fraisier.workflows.verbs import VerbRequest, read_request
from tests.properties.fuzz import changed, tries, values

celpy.Environment()  # its first one raises the limit of recursion, which no example may change

EXAMPLES = Path(__file__).parents[2] / "examples"
GOOD = {path.name: YAML(typ="safe").load(path) for path in sorted(EXAMPLES.glob("*.yaml"))}


def refusal(error: type[Exception], act: Callable[[], object]) -> str:
    """What the documented error says, if it is raised; any other goes on as the defect that it is."""
    try:
        act()
    except error as refused:
        return str(refused) or "it says nothing"
    return ""


def understood(path: Path) -> None:
    """Read a manifest, or be refused with the file's name before every problem."""
    said = refusal(ManifestInvalid, lambda: load_checked(path))
    assert all(line.startswith((str(path), " ")) for line in said.splitlines()[:1])


@tries(150)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(content=b"\0")
@example(content=b"service: &a [*a]\n")
@example(content=b"? [a]\n: b\n")
@example(content=b"service: 2001-99-99\n")
@example(content=b"[" * 5000)
@example(content=b"service: api\nservice: api\n")
@example(content=b"!!python/object:os.system [ls]\n")
def test_any_bytes_as_a_manifest(tmp_path: Path, content: bytes):
    (tmp_path / "rollout.yaml").write_bytes(content)
    understood(tmp_path / "rollout.yaml")


@tries(250)
@given(manifest=st.sampled_from([*GOOD.values()]).flatmap(changed))
def test_a_manifest_with_something_wrong_in_it(tmp_path: Path, manifest: Any):
    with (tmp_path / "rollout.yaml").open("w") as file:
        json.dump(manifest, file)  # JSON is YAML
    understood(tmp_path / "rollout.yaml")


A_FAILURE = new_event("health.check_failed", deployment_id="r1", region="eu", service="api", target="h", step="1")
A_STORED_EVENT = json.loads(A_FAILURE.to_json())


@tries(300)
@given(body=st.binary(max_size=200) | (changed(A_STORED_EVENT) | values).map(lambda body: json.dumps(body).encode()))
@example(body=b"[" * 100_000)
@example(body=b'{"specversion": "1.0", "data": ' + b'{"a":' * 5000)
def test_any_bytes_as_an_event(body: bytes):
    assert refusal(EventInvalid, lambda: Event.from_json(body, sequence=1)) != "it says nothing"


@tries(200)
@given(subject=st.text(max_size=60) | st.lists(st.text(max_size=5), max_size=9).map(".".join))
def test_any_text_as_a_subject(subject: str):
    refused = refusal(EventInvalid, lambda: str(Subject.parse(subject)))
    assert refused or str(Subject.parse(subject)) == subject


VARIABLES = (
    "NATS_SERVERS",
    "NATS_TIMEOUT",
    "NATS_MAX_RECONNECT_ATTEMPTS",
    "NATS_RECONNECT_TIME_WAIT",
    "NATS_TLS_ENABLED",
    "NATS_TLS_CA_FILE",
    "NATS_MONITORING_URLS",
    "NATS_DURABILITY",
    "NATS_REGION",
    "DEPLOYMENT_REGIONS",
    "INTER_REGION_TIMEOUT",
    "NATS_DEPLOYMENT_EVENTS_RETENTION",
    "NATS_STREAM_MAX_SIZE",
    "NATS_STREAM_REPLICAS",
    "ENABLE_EVENT_LOGGING",
    "FRAISIER_LOG_LEVEL",
    "WEBHOOK_URL",
    "WEBHOOK_FORMAT",
)
environment_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
odd_text = st.sampled_from(
    ("", " ", ",", "-1", "0", "1e400", "nan", "inf", "999999999999999999999", "nats://", "http://[")
)


@tries(200)
@given(given=st.dictionaries(st.sampled_from(VARIABLES), environment_text | odd_text, max_size=4))
def test_any_values_in_the_environment(given: dict[str, str]):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        said = refusal(ConfigInvalid, get_nats_config)
    assert not said or said.startswith("cannot use the environment: ")


ANSWERS = (
    "fraisier current 1.0.0-abc",
    "fraisier release 1.0.0-abc 1.0.0 sha256:abc",
    "fraisier token 1 2 3",
    f"fraisier since 1700000000 {quote('r1.1.2.activate', safe='')}",
    "fraisier problem no tar",
    "fraisier done 1 active",
    "fraisier ended 0",
)
lines = st.sampled_from(ANSWERS).flatmap(
    lambda good: st.just(good) | st.integers(0, len(good)).map(lambda cut: good[:cut])
) | st.text(max_size=30).map(lambda rest: f"fraisier {rest}") | st.text(max_size=30)  # fmt: skip


@tries(300)
@given(output=st.lists(lines, max_size=8).map("\n".join))
@example(output="fraisier release 1.0.0-abc")
@example(output="fraisier token 1 2")
@example(output="fraisier since 99999999999999999999 x")
def test_any_words_of_a_host(output: str):
    script.problems(output)
    said = refusal(script.Garbled, lambda: script.state(output))
    assert not said or "fraisier " in said


HEADS = (b"HTTP/1.1 200 OK", b"HTTP/1.1 204", b"HTTP/1.1 500 X", b"HTTP/1.1 301 X\r\nLocation: http://[", b"HTTP/9 1")
answers = st.binary(max_size=60) | st.tuples(st.sampled_from(HEADS), st.binary(max_size=60)).map(b"\r\n".join)


@tries(40)
@given(answer=answers)
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone")
@example(answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz")
async def test_any_answer_of_a_webhook(monkeypatch: pytest.MonkeyPatch, answer: bytes):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    monkeypatch.setattr("fraisier.nats.webhook.FIRST_WAIT_S", 0)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    config = HandlerConfig(webhook_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret")
    async with server:
        try:
            await post(A_FAILURE, config)
        except WebhookRefused as refused:
            said = str(refused)
        else:
            said = ""
    assert "secret" not in said


@tries(200)
@given(payload=values)
def test_any_payload_of_a_signal(payload: Any):
    assert isinstance(read_request(payload), VerbRequest)
