"""What the platform makes, and the domain behind it."""
