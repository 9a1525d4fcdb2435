"""Metrics of the dispatcher, each with a line of meaning."""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter(
    "webhook_attempts_total", "Attempts that ended, by result: delivered or the class of failure.", ("result",)
)
ATTEMPT_SECONDS = Histogram(
    "webhook_attempt_seconds",
    "Time of one attempt, from resolving the name to the end of the answer.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
OWED = Counter(
    "webhook_deliveries_owed_total", "Deliveries that followed from events, before repeated ones are dropped."
)
STALE = Counter("webhook_leases_lost_total", "Outcomes dropped because another worker had taken the delivery over.")
IN_FLIGHT = Gauge("webhook_permits_used", "Permits in use: deliveries being sent or noted now.")
OVERDUE = Gauge(
    "webhook_oldest_due_seconds",
    "How long the oldest delivery that may be sent now has been due; grows when the dispatcher is stuck.",
)
