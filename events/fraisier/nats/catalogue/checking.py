"""Whether a payload is what its type and version say."""

import functools
import logging
import re
from typing import Any

from pydantic import ValidationError

from fraisier.nats.catalogue import CATALOGUE
from fraisier.nats.errors import EventInvalid

SCHEMA_PREFIX = "urn:fraisier:event:"

_NUMBER = re.compile("[1-9][0-9]{0,8}")

logger = logging.getLogger(__name__)


def published_version(event_type: str) -> int:
    """The payload's version of what is published now; 1 for a type that is not in the catalogue."""
    spec = CATALOGUE.get(event_type)
    return spec.version if spec else 1


def schema_uri(event_type: str, version: int) -> str:
    """The name of a payload's schema, which is the event's ``dataschema``."""
    return f"{SCHEMA_PREFIX}{event_type}:{version}"


@functools.lru_cache(maxsize=1024)
def read_version(event_type: str, dataschema: object) -> int:
    """The payload's version, from a body's ``dataschema``: 1 where there is none, as in bodies of older publishers.

    Raises:
        EventInvalid: the type is in the catalogue, and the schema is not one of its.
    """
    if dataschema is None:
        return 1
    name, _, number = str(dataschema).rpartition(":")
    if name == f"{SCHEMA_PREFIX}{event_type}" and _NUMBER.fullmatch(number):
        return int(number)
    if event_type in CATALOGUE:
        raise EventInvalid(f"the payload of {event_type} is of the schema {dataschema!r}, which is not understood")
    return 1


def check_payload(event_type: str, version: int, payload: bytes | dict[str, Any]) -> None:
    """Check a payload against the catalogue.

    Args:
        event_type: the type; one that is not in the catalogue has a payload of its publisher's own.
        version: the payload's version.
        payload: the payload as JSON, or as it was read from JSON.

    Raises:
        EventInvalid: the version is not known, or the payload is not as the version says; no value is shown.
    """
    spec = CATALOGUE.get(event_type)
    if spec is None:
        _tell_of_unknown(event_type)
        return
    if not 1 <= version <= spec.version:
        raise EventInvalid(f"payload version {version} of {event_type} is not understood, only 1 to {spec.version}")
    validator = spec.payloads[version - 1].__pydantic_validator__
    try:
        _ = validator.validate_json(payload) if isinstance(payload, bytes) else validator.validate_python(payload)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        why = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'data'}: {one['msg']}" for one in problems)
        raise EventInvalid(f"the payload of {event_type} is not of its version {version}: {why}") from None


@functools.lru_cache(maxsize=1024)
def _tell_of_unknown(event_type: str) -> None:
    """Once a type: it may be a name of the publisher's own, or a slip of the pen."""
    logger.debug("%s is not in the event catalogue: its payload is taken as it is", event_type)
