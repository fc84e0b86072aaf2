"""One partition per cancer type: a YAML file in the catalogue adds one."""

from __future__ import annotations

import dagster as dg

from clinical_assets.catalog import load_catalog

cancer_types = dg.StaticPartitionsDefinition(sorted(load_catalog()))
