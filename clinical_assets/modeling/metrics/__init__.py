"""Measures of discrimination, calibration and usefulness, each with its source, and their bootstrap intervals."""
