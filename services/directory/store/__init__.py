"""All SQL of directory, by subject. Rows come back as dictionaries with the columns of the events' shapes."""
