"""The shapes of records, by family, one a file."""
