"""What rollouts can be searched by in the Temporal UI and its command line: typed search attributes."""

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

SERVICE = SearchAttributeKey.for_keyword("FraisierService")
VERSION = SearchAttributeKey.for_keyword("FraisierVersion")
REGION = SearchAttributeKey.for_keyword("FraisierRegion")
"""Of a region's workflows; the rollout itself has none."""
STATE = SearchAttributeKey.for_keyword("FraisierState")
"""A rollout's phase, or ``paused``."""

SEARCH_ATTRIBUTES = (SERVICE, VERSION, REGION, STATE)
"""A Temporal namespace must know them all; a worker registers them when it starts."""


def searched_by(service: str, version: str, region: str | None = None) -> TypedSearchAttributes:
    """The attributes that a workflow starts with."""
    pairs = [SearchAttributePair(SERVICE, service), SearchAttributePair(VERSION, version)]
    if region is not None:
        pairs.append(SearchAttributePair(REGION, region))
    return TypedSearchAttributes(pairs)


def tell_state(state: str) -> None:
    """Let the running workflow be found by its state. Rollouts that began without the attribute go on without it."""
    if workflow.patched("search-by-state") and workflow.info().typed_search_attributes.get(STATE) != state:
        workflow.upsert_search_attributes([STATE.value_set(state)])
