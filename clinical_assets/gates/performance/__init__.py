"""Gate 2, model performance."""
