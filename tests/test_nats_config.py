"""Every variable of the guide: default, range, `.env`; and secrets that nothing shows."""

import os
from pathlib import Path
from typing import Any

import nkeys
import pytest
from pydantic import AnyHttpUrl

from fraisier.nats import get_nats_config, is_nats_enabled
from fraisier.nats.config import ConfigInvalid, NatsConfig

SEED = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("NATS_", "ENABLE_", "WEBHOOK_", "FRAISIER_", "DEPLOYMENT_", "INTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


VARIABLES: list[tuple[str, str, Any, str, Any]] = [
    ("NATS_SERVERS", "connection.servers", ("nats://localhost:4222",), " nats://a:1, nats://b:2,", ("nats://a:1", "nats://b:2")),
    ("NATS_USERNAME", "connection.username", None, "fraisier", "fraisier"),
    ("NATS_TIMEOUT", "connection.timeout", 5, "7.5", 7.5),
    ("NATS_MAX_RECONNECT_ATTEMPTS", "connection.max_reconnect_attempts", 60, "-1", -1),
    ("NATS_RECONNECT_TIME_WAIT", "connection.reconnect_time_wait", 2, "0.5", 0.5),
    ("NATS_TLS_ENABLED", "connection.tls_enabled", False, "true", True),
    ("NATS_TLS_CERT_FILE", "connection.tls_cert_file", None, "/c", Path("/c")),
    ("NATS_TLS_KEY_FILE", "connection.tls_key_file", None, "/k", Path("/k")),
    ("NATS_TLS_CA_FILE", "connection.tls_ca_file", None, "/a", Path("/a")),
    ("NATS_CREDENTIALS_FILE", "connection.credentials_file", None, "/u", Path("/u")),
    ("NATS_MONITORING_URLS", "connection.monitoring_urls", (), "http://a:8222,", (AnyHttpUrl("http://a:8222"),)),
    ("NATS_DURABILITY", "connection.durability", "strict", "relaxed", "relaxed"),
    ("NATS_REGION", "regional.region", "default", "us-east-1", "us-east-1"),
    ("DEPLOYMENT_REGIONS", "regional.deployment_regions", ("default",), "us, eu", ("us", "eu")),
    ("INTER_REGION_TIMEOUT", "regional.inter_region_timeout", 45, "60", 60),
    ("NATS_DEPLOYMENT_EVENTS_RETENTION", "streams.deployment_events_retention_hours", 720, "1", 1),
    ("NATS_HEALTH_EVENTS_RETENTION", "streams.health_events_retention_hours", 168, "1", 1),
    ("NATS_DATABASE_EVENTS_RETENTION", "streams.database_events_retention_hours", 720, "1", 1),
    ("NATS_METRICS_EVENTS_RETENTION", "streams.metrics_events_retention_hours", 168, "1", 1),
    ("NATS_STREAM_MAX_SIZE", "streams.max_size", 1 << 30, "65536", 65536),
    ("NATS_STREAM_REPLICAS", "streams.replicas", 1, "3", 3),
    ("ENABLE_WEBHOOK_NOTIFICATIONS", "handlers.webhook_notifications", True, "false", False),
    ("ENABLE_METRICS_RECORDING", "handlers.metrics_recording", True, "0", False),
    ("ENABLE_EVENT_LOGGING", "handlers.event_logging", True, "no", False),
    ("FRAISIER_LOG_LEVEL", "handlers.log_level", "INFO", "debug", "DEBUG"),
    ("WEBHOOK_FORMAT", "handlers.webhook_format", "json", "slack", "slack"),
]  # fmt: skip


def value(config: NatsConfig, path: str) -> Any:
    group, _, name = path.partition(".")
    return getattr(getattr(config, group), name)


@pytest.mark.parametrize(("name", "path", "default", "given", "meant"), VARIABLES)
def test_a_variable_and_its_default(
    monkeypatch: pytest.MonkeyPatch, *, name: str, path: str, default: Any, given: str, meant: Any
) -> None:
    assert value(get_nats_config(), path) == default
    Path(".env").write_text(f"{name}='{given}'\n")
    assert value(get_nats_config(), path) == meant
    Path(".env").write_text(f"{name}=not-this-one\n")
    monkeypatch.setenv(name, given)
    assert value(get_nats_config(), path) == meant
    # Empty is as good as not set: compose files hand empty variables on.
    monkeypatch.setenv(name, "")
    Path(".env").unlink()
    assert value(get_nats_config(), path) == default


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("NATS_SERVERS", " , "),
        ("NATS_TIMEOUT", "0"),
        ("NATS_TIMEOUT", "soon"),
        ("NATS_MONITORING_URLS", "http://a:99999"),
        ("NATS_DURABILITY", "some"),
        ("NATS_MAX_RECONNECT_ATTEMPTS", "-2"),
        ("NATS_RECONNECT_TIME_WAIT", "-1"),
        ("NATS_TLS_ENABLED", "perhaps"),
        ("NATS_REGION", "us.east"),
        ("INTER_REGION_TIMEOUT", "0"),
        ("NATS_DEPLOYMENT_EVENTS_RETENTION", "0"),
        ("NATS_HEALTH_EVENTS_RETENTION", "a week"),
        ("NATS_STREAM_MAX_SIZE", "1"),
        ("NATS_STREAM_REPLICAS", "2"),
        ("NATS_STREAM_REPLICAS", "7"),
        ("ENABLE_METRICS_RECORDING", "maybe"),
        ("FRAISIER_LOG_LEVEL", "LOUD"),
        ("WEBHOOK_FORMAT", "teams"),
        ("NATS_NKEY_SEED", "SUAHIDDENSEED"),
        ("NATS_NKEY_SEED", nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT).decode()),
    ],
)
def test_a_value_out_of_range_names_its_variable_and_hides_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    monkeypatch.setenv(name, wrong)
    with pytest.raises(ConfigInvalid, match=name) as error:
        get_nats_config()
    if "SEED" in name:
        assert wrong not in f"{error.value!r} {error.value.__cause__!r} {error.value.__context__!r}"


@pytest.mark.parametrize("name", ["NATS_NKey_SEED", "NATS_NKEY_SEED", "nats_nkey_seed"])
@pytest.mark.parametrize("dotenv", [True, False])
def test_the_seed_is_read_in_any_case(monkeypatch: pytest.MonkeyPatch, name: str, dotenv: bool) -> None:
    if dotenv:
        Path(".env").write_text(f"{name}={SEED}\n")
    else:
        monkeypatch.setenv(name, SEED)
    assert get_nats_config().connection.to_nats_client_kwargs()["nkey_seed"] == SEED


def test_the_seed_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NATS_NKEY_SEED_FILE", str(tmp_path / "seed.nk"))
    for content in (None, "SUAHIDDENSEED"):
        if content is not None:
            (tmp_path / "seed.nk").write_text(content)
        with pytest.raises(ConfigInvalid, match="NATS_NKEY_SEED_FILE") as error:
            get_nats_config().connection.to_nats_client_kwargs()
        assert "HIDDEN" not in str(error.value)
    (tmp_path / "seed.nk").write_text(f"{SEED}\n")
    assert get_nats_config().connection.to_nats_client_kwargs()["nkey_seed"] == SEED


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"NATS_PASSWORD": "hidden-1", "NATS_NKEY_SEED": SEED, "WEBHOOK_URL": "https://x/hidden-2"}
    for name, secret in {**secrets, "WEBHOOK_SECRET": "hidden-3"}.items():
        monkeypatch.setenv(name, secret)
    config = get_nats_config()
    shown = f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
    assert "hidden" not in shown
    assert SEED not in shown
    assert config.connection.to_nats_client_kwargs()["password"] == "hidden-1"


@pytest.mark.parametrize("name", ["NATS_TLS_CA_FILE", "NATS_TLS_CERT_FILE", "NATS_CREDENTIALS_FILE"])
def test_a_file_that_is_not_there_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NATS_TLS_ENABLED", "true")
    monkeypatch.setenv(name, "/nowhere/file.pem")
    with pytest.raises(ConfigInvalid, match=f"{name}=/nowhere/file.pem"):
        get_nats_config().connection.to_nats_client_kwargs()


def test_enabled_means_that_servers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_nats_enabled()
    Path(".env").write_text("NATS_SERVERS=nats://nats:4222\n")
    assert is_nats_enabled()
    monkeypatch.setenv("NATS_SERVERS", "")
    assert is_nats_enabled() == (get_nats_config().connection.servers == ("nats://nats:4222",))
