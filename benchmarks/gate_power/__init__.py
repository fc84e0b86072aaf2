"""How often the five gates stop a faulty release, and how often a good one."""
