"""Every Prometheus metric of the event library, in the client's default registry."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("fraisier_events", "Events that a metric recorder saw.", ["event_type", "region", "service"])

DURATION = Histogram(
    "fraisier_event_duration_seconds",
    "`data.duration_s` of the events that a metric recorder saw.",
    ["event_type", "region", "service"],
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600),
)

HANDLER_SECONDS = Histogram("fraisier_handler_seconds", "How long one call of a handler took.", ["handler"])

HANDLER_ERRORS = Counter("fraisier_handler_errors", "Calls of a handler that raised or ran out of time.", ["handler"])

EVENT_LATENCY = Histogram(
    "fraisier_event_latency_seconds",
    "From the storing of an event to the end of its last handler.",
    ["stream"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300),
)

DEAD_LETTERS = Counter("fraisier_dead_letters", "Events that were put into the dead-letter stream.", ["stream"])

STREAM_BYTES = Gauge("fraisier_stream_bytes", "What a stream holds.", ["stream"])

STREAM_LIMIT = Gauge("fraisier_stream_limit_bytes", "What a stream may hold before it refuses more.", ["stream"])

STREAM_EVENTS = Gauge("fraisier_stream_events", "How many messages a stream holds.", ["stream"])

DISCONNECTS = Counter("fraisier_nats_disconnects", "Connections to NATS that were lost.")

CONNECTED = Gauge("fraisier_nats_connected", "Connections to NATS that stand now.")
