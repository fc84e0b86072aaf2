"""Gate 1, data quality."""
