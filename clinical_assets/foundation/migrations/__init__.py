"""The platform's schema, step by step: one file a revision in `versions`, applied by `foundation.schema`.

A change to a table needs a new revision here beside the change itself; a test compares both. Revisions are frozen: they
say what the schema was, and import nothing of the platform but this package.
"""
