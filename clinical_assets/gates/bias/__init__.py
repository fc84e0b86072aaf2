"""Gate 3, bias."""
