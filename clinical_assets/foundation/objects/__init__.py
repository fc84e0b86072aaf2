"""Immutable objects by address, in a local directory or in a bucket behind the S3 API, through one interface."""
