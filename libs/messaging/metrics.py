"""What messaging counts, one line of meaning each."""

from prometheus_client import Counter, Gauge

PUBLISHED = Counter("outbox_published", "Records that Kafka has acknowledged.", ["service"])
PUBLISH_FAILED = Counter("outbox_publish_failed", "Attempts to publish a chunk that failed or timed out.", ["service"])
BACKLOG_BYTES = Gauge("outbox_backlog_bytes", "Bytes of events that have not been published yet.", ["service"])
HANDLED = Counter("consumer_handled", "Records handled and committed, duplicates included.", ["group"])
BATCHES = Counter("consumer_batches", "Batches handled; one transaction each when nothing is wrong.", ["group"])
DUPLICATES = Counter("consumer_duplicates", "Records dropped by their headers within a batch.", ["group"])
IGNORED = Counter("consumer_ignored", "Records of types that nobody here hears.", ["group"])
SET_ASIDE = Counter("consumer_set_aside", "Records set aside as dead letters.", ["group", "topic"])
WAITS = Counter("consumer_waits", "Times a batch was put back because something was unavailable.", ["group"])
LAG = Gauge("consumer_lag_seconds", "Age of the oldest event that has not been handled yet.", ["group", "member"])
STOPPED = Gauge(
    "consumer_stopped_partitions", "Partitions stopped because too much on them is poison.", ["group", "member"]
)
