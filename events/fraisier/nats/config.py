"""Configuration from the environment and from ``.env``."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import nkeys
from dotenv import dotenv_values
from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fraisier.nats.errors import ConfigInvalid
from fraisier.nats.signing import signing_key
from fraisier.nats.tls import tls_context

__all__ = [
    "ConfigInvalid",
    "ConnectionConfig",
    "HandlerConfig",
    "NatsConfig",
    "RegionalConfig",
    "StreamConfig",
    "get_nats_config",
    "is_nats_enabled",
]

DOTENV = Path(".env")

_SETTINGS = SettingsConfigDict(
    env_file=DOTENV,
    env_file_encoding="utf-8",
    env_ignore_empty=True,
    extra="ignore",
    frozen=True,
    case_sensitive=False,
    populate_by_name=True,
    hide_input_in_errors=True,
)


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _is_user_seed(seed: str) -> bool:
    try:
        nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError):
        return False
    return seed.startswith("SU")


class ConnectionConfig(BaseSettings):
    """How NATS is reached.

    Attributes:
        servers: ``NATS_SERVERS``, a comma list of URLs; shown by no repr, for a URL may hold a password.
        username: ``NATS_USERNAME``.
        password: ``NATS_PASSWORD``; shown by no repr.
        timeout: ``NATS_TIMEOUT``, seconds for connecting and for one request.
        max_reconnect_attempts: ``NATS_MAX_RECONNECT_ATTEMPTS``, for each server; -1 for ever.
        reconnect_time_wait: ``NATS_RECONNECT_TIME_WAIT``, seconds between two attempts.
        tls_enabled: ``NATS_TLS_ENABLED``; a server without TLS is refused then.
        tls_ca_file: ``NATS_TLS_CA_FILE``, who signed the server's certificate; the machine's authorities by default.
        tls_cert_file: ``NATS_TLS_CERT_FILE``, the certificate that we show.
        tls_key_file: ``NATS_TLS_KEY_FILE``, its key.
        nkey_seed: ``NATS_NKEY_SEED``, in any case, such as ``NATS_NKey_SEED``; shown by no repr.
        nkey_seed_file: ``NATS_NKEY_SEED_FILE``, a file that holds the seed; NATS_NKEY_SEED goes before it.
        credentials_file: ``NATS_CREDENTIALS_FILE``, a JWT and its seed.
        monitoring_urls: ``NATS_MONITORING_URLS``, a comma list of the servers' monitoring pages; a worker asks them
            whether events are on the disk before they are acknowledged.
        durability: ``NATS_DURABILITY``, ``strict``, or ``relaxed`` to work with a server that may lose some.
    """

    model_config = _SETTINGS

    servers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("nats://localhost:4222",), validation_alias="NATS_SERVERS", min_length=1, repr=False
    )
    username: str | None = Field(default=None, validation_alias="NATS_USERNAME")
    password: SecretStr | None = Field(default=None, validation_alias="NATS_PASSWORD")
    timeout: float = Field(default=5, validation_alias="NATS_TIMEOUT", gt=0, le=300)
    max_reconnect_attempts: int = Field(default=60, validation_alias="NATS_MAX_RECONNECT_ATTEMPTS", ge=-1)
    reconnect_time_wait: float = Field(default=2, validation_alias="NATS_RECONNECT_TIME_WAIT", gt=0, le=300)

    tls_enabled: bool = Field(default=False, validation_alias="NATS_TLS_ENABLED")
    tls_ca_file: Path | None = Field(default=None, validation_alias="NATS_TLS_CA_FILE")
    tls_cert_file: Path | None = Field(default=None, validation_alias="NATS_TLS_CERT_FILE")
    tls_key_file: Path | None = Field(default=None, validation_alias="NATS_TLS_KEY_FILE")
    nkey_seed: SecretStr | None = Field(default=None, validation_alias="NATS_NKEY_SEED")
    nkey_seed_file: Path | None = Field(default=None, validation_alias="NATS_NKEY_SEED_FILE")
    credentials_file: Path | None = Field(default=None, validation_alias="NATS_CREDENTIALS_FILE")

    monitoring_urls: Annotated[tuple[AnyHttpUrl, ...], NoDecode] = Field(
        default=(), validation_alias="NATS_MONITORING_URLS"
    )
    durability: Literal["strict", "relaxed"] = Field(default="strict", validation_alias="NATS_DURABILITY")

    @field_validator("nkey_seed")
    @classmethod
    def _is_a_seed(cls, seed: SecretStr | None) -> SecretStr | None:
        if seed is not None and not _is_user_seed(seed.get_secret_value()):
            raise ValueError("this is no seed of a user, which begins with SU")
        return seed

    @model_validator(mode="after")
    def _tls_where_it_is_asked_for(self) -> "ConnectionConfig":
        if not self.tls_enabled and any(server.startswith("tls://") for server in self.servers):
            raise ValueError("NATS_SERVERS names tls:// servers, so set NATS_TLS_ENABLED=true")
        return self

    _lists = field_validator("servers", "monitoring_urls", mode="before")(_split)

    def to_nats_client_kwargs(self) -> dict[str, Any]:
        """The arguments of `NatsClient`.

        Raises:
            ConfigInvalid: a file of TLS's or of the credentials cannot be used.
        """
        if self.credentials_file is not None and not self.credentials_file.is_file():
            raise ConfigInvalid(f"NATS_CREDENTIALS_FILE={self.credentials_file} is not a file")
        tls = tls_context(self.tls_ca_file, self.tls_cert_file, self.tls_key_file) if self.tls_enabled else None
        return {
            "servers": list(self.servers),
            "username": self.username,
            "password": self.password.get_secret_value() if self.password else None,
            "timeout": self.timeout,
            "max_reconnect_attempts": self.max_reconnect_attempts,
            "reconnect_time_wait": self.reconnect_time_wait,
            "tls": tls,
            "certificate": (self.tls_cert_file, self.tls_key_file) if self.tls_cert_file else None,
            "nkey_seed": self._seed(),
            "credentials_file": str(self.credentials_file) if self.credentials_file else None,
        }

    def _seed(self) -> str | None:
        if self.nkey_seed is not None:
            return self.nkey_seed.get_secret_value()
        if self.nkey_seed_file is None:
            return None
        try:
            seed = self.nkey_seed_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"NATS_NKEY_SEED_FILE={self.nkey_seed_file} cannot be read: {error}") from None
        if not _is_user_seed(seed):
            raise ConfigInvalid(f"NATS_NKEY_SEED_FILE={self.nkey_seed_file} holds no seed of a user: it begins with SU")
        return seed


class RegionalConfig(BaseSettings):
    """Where this process runs, and which regions there are.

    Attributes:
        region: ``NATS_REGION``.
        deployment_regions: ``DEPLOYMENT_REGIONS``, a comma list.
        inter_region_timeout: ``INTER_REGION_TIMEOUT``, seconds a gate waits for a region's events.
    """

    model_config = _SETTINGS

    region: str = Field(default="default", validation_alias="NATS_REGION", pattern=r"^[A-Za-z0-9_-]{1,128}$")
    deployment_regions: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("default",), validation_alias="DEPLOYMENT_REGIONS", min_length=1
    )
    inter_region_timeout: float = Field(default=45, validation_alias="INTER_REGION_TIMEOUT", gt=0)

    _regions = field_validator("deployment_regions", mode="before")(_split)


class StreamConfig(BaseSettings):
    """How long and how much the streams keep.

    Attributes:
        deployment_events_retention_hours: ``NATS_DEPLOYMENT_EVENTS_RETENTION``, hours.
        health_events_retention_hours: ``NATS_HEALTH_EVENTS_RETENTION``, hours.
        database_events_retention_hours: ``NATS_DATABASE_EVENTS_RETENTION``, hours.
        metrics_events_retention_hours: ``NATS_METRICS_EVENTS_RETENTION``, hours.
        max_size: ``NATS_STREAM_MAX_SIZE``, bytes a stream; a full stream refuses, it never drops.
        replicas: ``NATS_STREAM_REPLICAS``, 1, 3 or 5.
    """

    model_config = _SETTINGS

    deployment_events_retention_hours: int = Field(
        default=720, validation_alias="NATS_DEPLOYMENT_EVENTS_RETENTION", ge=1
    )
    health_events_retention_hours: int = Field(default=168, validation_alias="NATS_HEALTH_EVENTS_RETENTION", ge=1)
    database_events_retention_hours: int = Field(default=720, validation_alias="NATS_DATABASE_EVENTS_RETENTION", ge=1)
    metrics_events_retention_hours: int = Field(default=168, validation_alias="NATS_METRICS_EVENTS_RETENTION", ge=1)
    max_size: int = Field(default=1 << 30, validation_alias="NATS_STREAM_MAX_SIZE", ge=1 << 16)
    replicas: int = Field(default=1, validation_alias="NATS_STREAM_REPLICAS", ge=1, le=5)

    @field_validator("replicas")
    @classmethod
    def _odd(cls, replicas: int) -> int:
        if replicas % 2 == 0:
            raise ValueError("use 1, 3 or 5: an even number survives no more than the odd one below it")
        return replicas


class HandlerConfig(BaseSettings):
    """Which handlers run, and how much is logged.

    Attributes:
        webhook_notifications: ``ENABLE_WEBHOOK_NOTIFICATIONS``.
        metrics_recording: ``ENABLE_METRICS_RECORDING``.
        event_logging: ``ENABLE_EVENT_LOGGING``.
        log_level: ``FRAISIER_LOG_LEVEL``.
        webhook_url: ``WEBHOOK_URL``; shown by no repr, for whoever knows a chat's webhook may post to it.
        webhook_secret: ``WEBHOOK_SECRET``, signs the body (Standard Webhooks).
        webhook_format: ``WEBHOOK_FORMAT``.
    """

    model_config = _SETTINGS

    webhook_notifications: bool = Field(default=True, validation_alias="ENABLE_WEBHOOK_NOTIFICATIONS")
    metrics_recording: bool = Field(default=True, validation_alias="ENABLE_METRICS_RECORDING")
    event_logging: bool = Field(default=True, validation_alias="ENABLE_EVENT_LOGGING")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="FRAISIER_LOG_LEVEL"
    )
    webhook_url: SecretStr | None = Field(default=None, validation_alias="WEBHOOK_URL")
    webhook_secret: SecretStr | None = Field(default=None, validation_alias="WEBHOOK_SECRET")
    webhook_format: Literal["json", "slack", "discord"] = Field(default="json", validation_alias="WEBHOOK_FORMAT")

    @field_validator("webhook_url")
    @classmethod
    def _is_a_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                AnyHttpUrl(url.get_secret_value())
            except ValidationError:
                # Not shown: whoever knows it may post to it.
                raise ValueError("this is no http:// or https:// URL") from None
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _is_a_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            try:
                signing_key(secret.get_secret_value())
            except ValueError:
                raise ValueError("behind whsec_ it must be base64") from None
        return secret

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class NatsConfig(BaseModel):
    """All of it."""

    model_config = ConfigDict(frozen=True)

    connection: ConnectionConfig
    regional: RegionalConfig
    streams: StreamConfig
    handlers: HandlerConfig


def get_nats_config() -> NatsConfig:
    """Read the configuration.

    Raises:
        ConfigInvalid: a variable has a value that cannot be used.
    """
    try:
        return NatsConfig(
            connection=ConnectionConfig(),
            regional=RegionalConfig(),
            streams=StreamConfig(),
            handlers=HandlerConfig(),
        )
    except ValidationError as error:
        # Never the value itself: it may be a secret.
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'together'}: {one['msg']}" for one in error.errors())
        raise ConfigInvalid(f"cannot use the environment: {wrong}") from None


def is_nats_enabled() -> bool:
    """Whether NATS is configured: ``NATS_SERVERS`` is set in the environment or in ``.env``."""
    return bool(os.environ.get("NATS_SERVERS") or dotenv_values(DOTENV).get("NATS_SERVERS"))
