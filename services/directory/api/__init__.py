"""Routes of directory, by subject."""
