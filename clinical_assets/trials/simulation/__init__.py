"""Simulated cohorts, for teams that test before data exist. No patient stands behind a row of them.

A cohort is simulated as a whole or not at all: a contract has one source, a source has one kind, and a simulated source
reads no file and no package. Rows of patients and simulated rows can therefore never meet in one cohort.
"""
