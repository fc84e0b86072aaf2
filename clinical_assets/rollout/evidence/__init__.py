"""Anytime-valid evidence: every test here may be looked at after every patient without losing its error guarantee."""
