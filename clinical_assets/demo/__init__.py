"""The whole loop on a real trial in a few minutes. Nothing here is used by the platform itself."""
