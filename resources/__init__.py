"""Dagster resources, one per outside system. Each is a thin door: the work is done by the library behind it."""
