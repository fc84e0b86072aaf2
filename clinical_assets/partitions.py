"""One partition per cancer type: a YAML file in the catalogue adds one."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from clinical_assets.catalog import load_catalog
from clinical_assets.run_pods import tags_of


class CancerTypes(dg.StaticPartitionsDefinition):
    """Partition keys whose runs carry what their pods need."""

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        return {**super().get_tags_for_partition_key(partition_key), **tags_of(partition_key)}


cancer_types = CancerTypes(sorted(load_catalog()))
