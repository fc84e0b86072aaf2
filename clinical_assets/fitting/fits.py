"""Networks fitted elsewhere: small fits stay in this process, a large one becomes a folder that a runner works off."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from clinical_assets.modeling.batched_networks import Fitted, Network


class FitFailed(RuntimeError):
    """The fit cannot succeed as it is asked for; the message says what to change."""


class FitInterrupted(RuntimeError):
    """What the fit ran on failed, as often as the rules allow; the same call goes on with whatever is left."""


@dataclass(frozen=True)
class FitEvent:
    """Something that happened to a fit, for people: `state` in one word, `detail` in a sentence."""

    fit: str
    state: str
    detail: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


Report = Callable[[FitEvent], None]


class Runner(Protocol):
    def run(self, folder: Path, report: Report) -> None:
        """Return when `folder` holds a result.

        Raises:
            FitFailed: it never will. FitInterrupted: what it runs on failed too often.
        """
        ...


@dataclass
class NetworkFits:
    """Fits a batch of networks; equal batches are fitted once, also across runs that died in between.

    Attributes:
        directory: of the folders; a TrainJob's pods see it too.
        smallest: size (`network_jobs.values`) from which a fit goes to the runner.
    """

    directory: Path
    runner: Runner
    smallest: int
    report: Report
    _folders: list[Path] = field(default_factory=list)

    def __call__(self, networks: Sequence[Network], device: str) -> list[Fitted]:
        """Weights in the order of `networks`, to the last bit those of this process where `device` is "cpu".

        Raises:
            FitFailed, FitInterrupted: see the runner.
        """
        import torch

        from clinical_assets.modeling.batched_networks import train
        from clinical_assets.modeling.network_jobs import DamagedResult, read_result, values, write_job

        here = device != "cuda" or torch.cuda.is_available()
        if here and values(networks) < self.smallest:
            return train(networks, device=device)
        folder = write_job(self.directory, networks, device)
        self._folders.append(folder)
        try:
            fitted = read_result(folder, networks)
        except DamagedResult as damage:
            self.report(FitEvent(folder.name, "damaged", str(damage)))
            fitted = None
        if fitted is None:
            self.runner.run(folder, self.report)
            fitted = read_result(folder, networks)
        else:
            self.report(FitEvent(folder.name, "found", "fitted by an earlier run"))
        if fitted is None:
            raise FitInterrupted(f"{folder} holds no result although its runner has ended; run it again")
        return fitted

    def forget(self) -> None:
        """Remove the folders, once their model is stored: they hold encoded rows of patients."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()
