"""A first contract from a data file: guesses that a person completes. What no file can tell is left open, visibly."""
