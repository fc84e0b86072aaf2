"""Gate 4, regulatory evidence."""
