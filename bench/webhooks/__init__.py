"""What the webhook dispatcher can do, alone with PostgreSQL, Kafka and a receiver on one machine: W1 to W11."""
