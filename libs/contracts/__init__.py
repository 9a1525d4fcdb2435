"""What services say to each other: every event's shape, every topic, and the identities both sides derive."""
