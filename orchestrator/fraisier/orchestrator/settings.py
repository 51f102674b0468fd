"""Where NATS and Temporal are: the environment, then ``.env``, then the local stack, then the usual ports."""

import os
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from pydantic import ValidationError
from temporalio.envconfig import ClientConfig

from fraisier.nats.config import DOTENV
from fraisier.orchestrator.errors import Invalid
from fraisier.orchestrator.launcher import fraisier_home
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.errors import StackNotRunning
from fraisier.providers.secrets import SecretRef
from fraisier.workflows.payloads import VARIABLE, KeyRing, KeysUnusable

_LEADERS = {"NATS_": ("NATS_SERVERS",), "TEMPORAL_": ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")}
"""By group of variables, those that say that the user has servers of their own."""

DEFAULT_ADDRESS = "localhost:7233"

TASK_QUEUE = "fraisier"
"""Of the central workers."""


def adopt_environment() -> None:
    """Fill the environment of this process from ``.env`` and from the running local stack.

    What is set stays. Nothing of the local stack's is added where servers of the user's own are named, so that its
    password is never sent to them.
    """
    load_dotenv(DOTENV)
    try:
        stack = LocalStack().env()
    except StackNotRunning:
        return
    for prefix, leaders in _LEADERS.items():
        if not any(leader in os.environ for leader in leaders):
            for name in (name for name in stack if name.startswith(prefix)):
                os.environ.setdefault(name, stack[name])


def temporal_options() -> dict[str, Any]:
    """The arguments of `Client.connect`, from Temporal's own variables and configuration file."""
    options: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    options.setdefault("target_host", DEFAULT_ADDRESS)
    options.setdefault("namespace", "default")
    return options


def key_ring() -> KeyRing | None:
    """The keys that ``$FRAISIER_PAYLOAD_KEYS`` refers to, as ``file:/path`` or ``env:NAME``; None when it is not set.

    Raises:
        Invalid: the reference is none, nothing is there, or what is there are no keys.
    """
    reference = os.environ.get(VARIABLE)
    if not reference:
        return None
    try:
        return KeyRing.parse(SecretRef(secret=reference).resolve())
    except ValidationError:
        why = "a reference is file:/path or env:NAME, and never the keys themselves"
    except (LookupError, KeysUnusable) as error:
        why = str(error.args[0])
    raise Invalid(f"{VARIABLE} cannot be used: {why}")


ARTIFACT_CACHE = "FRAISIER_ARTIFACT_CACHE"


def artifact_cache() -> Path:
    """Where a worker keeps fetched artifacts: ``$FRAISIER_ARTIFACT_CACHE``, or a folder in Fraisier's home."""
    given = os.environ.get(ARTIFACT_CACHE)
    return Path(given) if given else fraisier_home() / "artifacts"
