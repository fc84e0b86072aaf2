"""Gate 5, security."""
