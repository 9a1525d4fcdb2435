"""Kafka: the outbox and its relay, the consumer, dead letters, and what an operator does to topics and groups."""
