"""Events in the words of CDEvents 0.5.1, for tools that understand those."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from fraisier.nats.catalogue import CATALOGUE
from fraisier.nats.catalogue.deployment import SERVICE_ROLLED_BACK
from fraisier.nats.events import SPEC_VERSION, Event

CDEVENTS_VERSION = "0.5.1"
SERVICE_REMOVED = "dev.cdevents.service.removed.0.3.0"

_OUTCOMES = {"completed": "success", "failed": "failure"}
"""How a run ended, by our event; what somebody took back or cancelled counts as cancelled."""


def to_cdevent(event: Event) -> bytes | None:
    """The event as CDEvents says it: a CloudEvents 1.0 structured-mode body; None where CDEvents has no word for it.

    A rollout is a pipeline run and a region's part in it a task run; what runs on a target is a service in the
    environment of its region's name; a health check that fails is an incident. Our payload goes along as custom data.
    """
    kind = _kind(event)
    if kind is None:
        return None
    subject = kind.split(".")[2]
    subject_id, content = _SUBJECTS[subject](event)
    if kind == SERVICE_REMOVED:
        del content["artifactId"]
    if kind.split(".")[3] == "finished":
        content |= _outcome(event)
    context = {
        "specversion": CDEVENTS_VERSION,
        "id": event.event_id,
        "source": event.source,
        "type": kind,
        "timestamp": event.time,
    }
    body = {
        "specversion": SPEC_VERSION,
        "id": event.event_id,
        "source": event.source,
        "type": kind,
        "subject": subject_id,
        "time": event.time,
        "datacontenttype": "application/json",
        "data": {
            "context": context,
            "subject": {"id": subject_id, "content": content},
            "customData": event.data,
            "customDataContentType": "application/json",
        },
    }
    return to_json(body, fallback=str)


def _kind(event: Event) -> str | None:
    spec = CATALOGUE.get(event.event_type)
    kind = spec.cdevents.get(str(event.data.get("scope") or "target")) if spec else None
    nothing_left = "version" in event.data and event.data["version"] is None
    return SERVICE_REMOVED if kind == SERVICE_ROLLED_BACK and nothing_left else kind


def _pipeline_run(event: Event) -> tuple[str, dict[str, Any]]:
    return event.deployment_id, {"pipelineName": event.service}


def _task_run(event: Event) -> tuple[str, dict[str, Any]]:
    # A region that is tried again is another run of the task, under another generation.
    run = "/".join(map(str, (event.deployment_id, event.region, event.data.get("generation") or 0)))
    return run, {"taskName": event.region, "pipelineRun": {"id": event.deployment_id}}


def _service(event: Event) -> tuple[str, dict[str, Any]]:
    return _service_id(event), {"environment": {"id": event.region}, "artifactId": _artifact(event)}


def _incident(event: Event) -> tuple[str, dict[str, Any]]:
    content = {
        "environment": {"id": event.region},
        "service": {"id": _service_id(event)},
        "artifactId": _artifact(event),
        "description": _why(event) or event.event_type,
    }
    return event.event_id, content


_SUBJECTS: dict[str, Callable[[Event], tuple[str, dict[str, Any]]]] = {
    "pipelinerun": _pipeline_run,
    "taskrun": _task_run,
    "service": _service,
    "incident": _incident,
}


def _outcome(event: Event) -> dict[str, Any]:
    outcome = _OUTCOMES.get(event.event_type.partition(".")[2], "cancel")
    why = _why(event)
    return {"outcome": outcome, "errors": why} if why and outcome != "success" else {"outcome": outcome}


def _why(event: Event) -> str:
    return str(event.data.get("reason") or event.data.get("error") or event.data.get("detail") or "")


def _service_id(event: Event) -> str:
    return "/".join(part for part in (event.region, event.target, event.service) if part)


def _artifact(event: Event) -> str:
    """The release as a package URL: an image by its digest, anything else by name, version and checksum."""
    digest, version = str(event.data.get("release_digest") or ""), event.data.get("version")
    image, _, image_digest = digest.rpartition("@")
    if image:
        registry, slash, name = image.rpartition("/")
        name = name.partition(":")[0]  # without its tag
        repository = quote(f"{registry}{slash}{name}", safe="/:")
        return f"pkg:oci/{quote(name.lower())}@{quote(image_digest, safe='')}?repository_url={repository}"
    at = f"@{quote(str(version), safe='')}" if version else ""
    checksum = f"?checksum={digest}" if digest.startswith("sha256:") else ""
    return f"pkg:generic/{quote(event.service)}{at}{checksum}"
