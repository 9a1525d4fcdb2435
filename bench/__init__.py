"""What is measured: acceptance, the whole walk, latency, memory."""
