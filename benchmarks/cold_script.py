"""Raw data to verdict for one cancer type in its own process, as a pipeline of one script per configuration runs."""

from __future__ import annotations

import os
import sys

import dagster as dg


def main(cancer: str) -> int:
    from clinical_assets.backfill_worker import STAGES, run_partition
    from clinical_assets.definitions import build_defs
    from clinical_assets.foundation.home import Home
    from clinical_assets.instance import open_instance

    with open_instance(Home.from_env().prepare()) as instance:
        job: dg.JobDefinition = build_defs().resolve_job_def("trial_to_route")
        outcome = run_partition(job, instance, cancer, STAGES[:-1], lambda stage: None)
    print(outcome)
    return int(outcome.status == "failed")


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)
