"""What the runs of a cancer type may use, and where its networks are fitted. Nothing here changes a model."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

BASE_MIB, MIB_PER_ROOT_ROW = 900.0, 4.3
"""Peak of a whole run, raw data to verdict: 900 + 4.3 sqrt(rows) MiB is within 4 % of what was measured on 30 features
at 1,000 to 1,000,000 rows (benchmarks/results/pipeline_speed.json); large training sets are thinned out."""
RESERVE, STEP_MIB = 1.3, 128


class Compute(BaseModel):
    """
    A fit of networks is large if one epoch reads at least `runner_from` numbers, rows times columns over all networks
    of the nested procedure. With `trainjob` it becomes a Kubeflow TrainJob of the cluster, with `process` a process
    beside the run. Smaller fits, and all other families, stay in the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(default=20_000, gt=0, description="patients expected; the memory of a run's pod follows from it")
    memory_mib: int | None = Field(
        default=None, ge=256, description="of the pods of runs and TrainJobs, instead of that"
    )
    cpu: float = Field(default=1.0, gt=0, le=64, description="cores that a run's pod asks for; the numerics use one")
    runner: Literal["process", "trainjob"] = "process"
    runner_from: int = Field(default=500_000_000, ge=0, description="size from which networks are fitted in the runner")
    timeout_minutes: float = Field(default=120.0, gt=0, description="of one fit in a runner, and of a run in a pod")
    retries: int = Field(default=2, ge=0, le=10, description="further attempts when the machine under it has failed")

    @property
    def memory(self) -> int:
        """MiB that the pod of a run gets."""
        needed = RESERVE * (BASE_MIB + MIB_PER_ROOT_ROW * sqrt(self.rows))
        return self.memory_mib or STEP_MIB * ceil(needed / STEP_MIB)
