"""Networks to fit, and a cluster with Kubeflow Trainer that fits them in real processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from clinical_assets.fitting.fits import FitEvent, NetworkFits
from clinical_assets.fitting.train_job import Trainer
from clinical_assets.fitting.train_jobs import Patience, TrainJobRunner
from clinical_assets.modeling.batched_networks import Fitted, Network, Sample
from clinical_assets.serving.kubernetes.api import KubernetesApi
from tests.kubernetes_double.api import ApiDouble
from tests.kubernetes_double.cluster import BASE, role_rules
from tests.kubernetes_double.server import ApiServer
from tests.kubernetes_double.trainer import TrainerDouble

TOKEN = "run-token"
COMPONENT = BASE.parent / "components" / "train-jobs"
PARTS = ("hidden", "bias", "output", "skip", "intercept")
SHORT = Patience(start=5.0, finish=20.0, settle=0.2, pause=0.02, going=5.0)


def networks(seed: int = 1, n: int = 60) -> list[Network]:
    """One network for each loss; the survival ones share their samples."""
    rng = np.random.default_rng(seed)
    rows, times, flag = rng.normal(size=(n, 4)), rng.exponential(1.0, n), rng.random(n) < 0.6
    training, held_out = (Sample(rows[part], flag[part], times[part]) for part in (slice(0, 40), slice(40, n)))
    labels = Sample(rows, rows[:, 0] > 0)
    return [
        Network(training, held_out, "cox", seed),
        Network(training, held_out, "hazard", seed + 1, breaks=np.array([0.5, 1.0, 9.0])),
        Network(labels, labels, "binomial", seed + 2, units=3, learning_rate=0.1 / 3.0),
    ]


def same(some: list[Fitted], others: list[Fitted]) -> bool:
    """Equal to the last bit."""
    return all(
        one.held_out_loss == other.held_out_loss
        and one.epoch == other.epoch
        and all(np.array_equal(getattr(one.weights, part), getattr(other.weights, part)) for part in PARTS)
        for one, other in zip(some, others, strict=True)
    )


@dataclass
class FitCluster:
    """What one fit on the cluster needs, and what was reported of it."""

    trainer: TrainerDouble
    server: ApiServer
    directory: Path
    events: list[FitEvent] = field(default_factory=list)

    def runner(self, retries: int = 2, patience: Patience = SHORT) -> TrainJobRunner:
        api = KubernetesApi(self.server.client(TOKEN))
        return TrainJobRunner(api, Trainer(image="platform:1"), retries, patience)

    def fits(self, **changes: object) -> NetworkFits:
        return NetworkFits(self.directory, self.runner(**changes), 0, self.events.append)  # pyright: ignore

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events]

    @property
    def jobs(self) -> list[str]:
        return [path for path in self.trainer.api.objects if "/trainjobs/" in path]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FitCluster]:
    api = ApiDouble()
    api.rules[TOKEN] = role_rules(COMPONENT)
    server = ApiServer(api)
    trainer = TrainerDouble(api, Trainer(image="").mount, tmp_path)
    try:
        with trainer.running():
            yield FitCluster(trainer, server, tmp_path)
    finally:
        server.stop()
