"""A Kubernetes API and an istiod for tests, as far as the platform can tell them from real ones."""
