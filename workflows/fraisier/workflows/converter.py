"""The one data converter that clients, workers, tests and the replayer share."""

from temporalio.contrib.pydantic import pydantic_data_converter

DATA_CONVERTER = pydantic_data_converter
