"""Where cohorts come from. `spec` says what a source is (light), `read` reads it, one module per kind of source."""
