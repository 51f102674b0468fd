"""The one data converter that clients, workers, tests and the replayer share."""

from dataclasses import replace

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes

from fraisier.workflows.payloads import KeyRing, Sealing


def data_converter(ring: KeyRing | None = None) -> DataConverter:
    """The converter.

    Args:
        ring: the keys that payloads and the texts of failures are encrypted with; with none, they stay readable.
    """
    if ring is None:
        return replace(pydantic_data_converter, payload_codec=Sealing())
    return replace(
        pydantic_data_converter,
        payload_codec=Sealing(ring),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


DATA_CONVERTER = data_converter()
"""Without keys."""
