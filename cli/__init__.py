"""The commands behind ./activities: what runs, what it holds, and what proves it."""
