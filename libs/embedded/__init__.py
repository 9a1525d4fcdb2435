"""PostgreSQL and Kafka of our own, for `up`, tests and demos.

Both run unprivileged, listen on 127.0.0.1 only, keep all they own in one directory, and are found again by it.
"""
