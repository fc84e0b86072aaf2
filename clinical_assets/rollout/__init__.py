"""Bringing a gated challenger to patients: policy, evidence, pure decisions, ledger, ports to the data plane."""
