"""All SQL of the webhook dispatcher, by subject."""
