"""Backup and restore of everything that the platform keeps: databases, objects, registries and public keys."""
