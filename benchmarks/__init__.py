"""Measured claims: each one command, with JSON output."""
