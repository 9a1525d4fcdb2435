"""Metrics of routes and loops, each with a line of meaning; served at `/metrics`."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Histogram(
    "activities_http_request_seconds",
    "Time from the first byte of a request to the last byte of its answer, by route and status class.",
    ("service", "method", "route", "status"),
    buckets=SECONDS,
)
CROWDED = Counter(
    "activities_http_crowded_total",
    "Requests turned away with 503 before any work, because as many as can wait were waiting already.",
    ("service",),
)
FAILURES = Counter(
    "activities_task_failures_total",
    "How often a background task ended with an error and was started again.",
    ("service", "task"),
)
LOOP_LATE = Histogram(
    "activities_loop_late_seconds",
    "How late the event loop woke a task that looks each second: requests wait as long besides.",
    buckets=SECONDS,
)
HEALTHY = Gauge(
    "activities_service_healthy",
    "1 while /healthz/<service> reports no problem, 0 otherwise; sampled when /metrics is read.",
    ("service",),
)
ERASURES_OPEN = Gauge(
    "activities_erasures_open",
    "Records whose person was erased in directory and whose texts a service has not taken away everywhere yet.",
    ("service",),
)
ERASURE_OLDEST = Gauge(
    "activities_erasure_oldest_seconds",
    "How long ago the oldest of the open erasures was asked for; 0 when none is open.",
    ("service",),
)
CONNECTIONS = Gauge(
    "activities_database_connections_used",
    "Connections of a service's pools in use when /metrics is read; `routes`, `worker` or `keys`.",
    ("service", "pool"),
)
CONNECTIONS_MAX = Gauge(
    "activities_database_connections_max",
    "Connections that a service's pools may have; when all are in use for 5 s, requests are answered 503.",
    ("service", "pool"),
)
