"""What a deployment of any size needs, reckoned from measured unit costs; see `docs/scaling.md`."""
