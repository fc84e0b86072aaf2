"""Trial data: contracts, sources, snapshots, the fixed split, the feature table. Knows nothing of models or Dagster."""
