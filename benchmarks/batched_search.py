"""Every network of a search in one batch, against training them one by one with autograd.

The workload is one architecture search over all cancer types: 55 types x 5 folds x 16 settings = 4,400 networks, each
on 700 subjects x 24 columns (560 to learn from, 140 held out), 200 epochs. The settings are two losses (partial
likelihood, hazards in 8 intervals) x 2 learning rates x 4 penalties. All train every epoch; --stop-early lets each stop
by itself.

The batch is `batched_networks.train`. One by one means the same network as usually written: parameters, autograd,
torch.optim.Adam, its held-out loss read after every epoch. By default a random sample is trained that way and the total
is extrapolated from its mean, with a 95 % interval from the sample's spread; --complete trains all of them. The same
sample's scores measure how far the two differ; rounding grows where Adam oscillates about an optimum it has reached.

Both use one CPU thread or one GPU, in float32. Data are simulated before the clocks start; each way's clock includes
moving them to the device and the weights back. Times are wall-clock, after a small warm-up.

Examples:
  python -m benchmarks.batched_search --cancers 5               400 of the networks, on this CPU
  python -m benchmarks.batched_search --device cuda --json figures.json
  scp benchmarks/batched_search.py clinical_assets/modeling/batched_networks.py gpu: && \\
      ssh gpu python batched_search.py --device cuda            torch and numpy are all it needs there
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    from clinical_assets.modeling import batched_networks as batch
except ModuleNotFoundError:  # beside the module on a machine that has torch and numpy only
    import batched_networks as batch  # pyright: ignore[reportMissingImports]

FOLDS, ROWS, COLUMNS, INTERVALS = 5, 700, 24, 8
SETTINGS = tuple(
    itertools.product(("cox", "hazard"), (0.01, 0.03), ((0.03, 0.01), (0.1, 0.03), (0.3, 0.03), (1.0, 0.1)))
)


def workload(cancers: int, rows: int = ROWS, columns: int = COLUMNS) -> list[batch.Network]:
    """The networks of a search over simulated cohorts."""
    networks = []
    for cancer in range(cancers):
        rng = np.random.default_rng(cancer)
        matrix = rng.normal(size=(rows, columns))
        log_hazard = 0.5 * matrix[:, 0] + 0.3 * matrix[:, 1] * matrix[:, 2]
        died = np.ceil(rng.exponential(1500.0 * np.exp(-log_hazard)))
        left = rng.uniform(200.0, 4000.0, size=rows)
        time_, event = np.minimum(died, left), died <= left
        breaks = np.quantile(time_[event], np.arange(1, INTERVALS + 1) / INTERVALS)
        fold = rng.permutation(rows) % FOLDS
        for k in range(FOLDS):
            training, held_out = (batch.Sample(matrix[at], event[at], time_[at]) for at in (fold != k, fold == k))
            for number, (loss, rate, (skip, unit)) in enumerate(SETTINGS):
                seed = (cancer * FOLDS + k) * len(SETTINGS) + number
                intervals = breaks if loss == "hazard" else None
                networks.append(batch.Network(training, held_out, loss, seed, 16, rate, skip, unit, intervals))
    return networks


def train_alone(
    network: batch.Network, schedule: batch.Schedule, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> batch.Fitted:
    """One network by autograd and torch.optim.Adam, unpadded, as one would write it without a batch."""

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, device=device, dtype=dtype)

    parts = {name: torch.nn.Parameter(tensor(values)) for name, values in vars(batch.initial_weights(network)).items()}
    parts["intercept"].requires_grad_(network.loss != "cox")
    optimiser = torch.optim.Adam([part for part in parts.values() if part.requires_grad], lr=network.learning_rate)
    losses = {}
    for side in ("training", "held_out"):
        sample = getattr(network, side)
        losses[side] = _loss(network, sample, tensor), tensor(sample.rows)

    def loss(side: str) -> torch.Tensor:
        of_score, rows = losses[side]
        units = torch.nn.functional.softsign(rows @ parts["hidden"] + parts["bias"])
        return of_score(units @ parts["output"] + rows @ parts["skip"] + parts["intercept"])

    lowest, reached, best = np.inf, 0, {}
    for epoch in range(schedule.epochs + 1):
        with torch.no_grad():
            held_out = float(loss("held_out"))
        if held_out < lowest + schedule.slack:
            lowest, reached = min(lowest, held_out), epoch
            best = {name: part.detach().clone() for name, part in parts.items()}
        if epoch - reached >= schedule.patience or epoch == schedule.epochs:
            break
        optimiser.zero_grad()
        units = parts["hidden"].square().sum() + parts["output"].square().sum()
        ridge = network.unit_penalty * units + network.skip_penalty * parts["skip"].square().sum()
        (loss("training") + 0.5 * ridge).backward()
        optimiser.step()
    weights = batch.Weights(**{name: part.cpu().numpy().astype(np.float64) for name, part in best.items()})
    return batch.Fitted(weights, lowest, reached)


def _loss(
    network: batch.Network, sample: batch.Sample, tensor: Callable[[np.ndarray], torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Scores (n, outputs) -> negative log likelihood per row."""
    if network.loss == "cox":
        assert sample.times is not None
        order = np.argsort(-sample.times, kind="stable")
        later = -sample.times[order]
        event = tensor(sample.flag[order])
        last_tied = torch.as_tensor(np.searchsorted(later, later, side="right") - 1, device=event.device)
        latest_first = torch.as_tensor(order, device=event.device)

        def partial(score: torch.Tensor) -> torch.Tensor:
            log_hazard = score[latest_first, 0]
            risk = torch.logcumsumexp(log_hazard, dim=0)[last_tied]
            return (event * (risk - log_hazard)).mean()

        return partial
    seen, happened = (tensor(values.T) for values in batch.at_risk(sample, network.breaks))

    def bernoulli(score: torch.Tensor) -> torch.Tensor:
        each = seen * torch.nn.functional.softplus(score) - happened * score
        return each.sum() / len(score)

    return bernoulli


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of both ways, in seconds."""
    device = arguments.device
    torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
    torch.set_num_threads(1)
    patience = batch.Schedule().patience if arguments.stop_early else arguments.epochs + 1
    schedule = batch.Schedule(arguments.epochs, patience)
    networks = workload(arguments.cancers, arguments.rows, arguments.columns)
    batch.train(networks[: len(SETTINGS)], batch.Schedule(3, 3), device)
    train_alone(networks[0], batch.Schedule(3, 3), device)
    train_alone(networks[-1], batch.Schedule(3, 3), device)

    batched, seconds = _timed(lambda: batch.train(networks, schedule, device, at_once=arguments.at_once), device)
    rng = np.random.default_rng(0)
    sampled = range(len(networks))
    if not arguments.complete:
        sampled = sorted(rng.choice(len(networks), min(arguments.sample, len(networks)), replace=False).tolist())
    alone, each, apart = [], [], []
    for index in sampled:
        fitted, cost = _timed(lambda network=networks[index]: train_alone(network, schedule, device), device)
        alone.append(fitted)
        each.append(cost)
        rows = networks[index].held_out.rows
        apart.append(float(np.abs(fitted.weights(rows) - batched[index].weights(rows)).max()))
    mean = float(np.mean(each))
    error = 1.96 * float(np.std(each, ddof=1)) / np.sqrt(len(each)) if len(each) > 1 else float("nan")
    one_by_one = mean * len(networks)
    margin = 0.0 if arguments.complete else error * len(networks)
    same_epoch = [one.epoch == batched[index].epoch for one, index in zip(alone, sampled, strict=True)]
    return {
        "machine": _machine(device),
        "workload": {
            "networks": len(networks),
            "rows": arguments.rows,
            "columns": arguments.columns,
            "epochs": arguments.epochs,
            "stop_early": arguments.stop_early,
            "mean_epoch_kept": float(np.mean([fitted.epoch for fitted in batched])),
        },
        "batched": {"seconds": seconds, "networks_per_second": len(networks) / seconds, "memory_mib": _memory(device)},
        "one_by_one": {
            "seconds": one_by_one,
            "interval_95": [one_by_one - margin, one_by_one + margin],
            "extrapolated_from": None if arguments.complete else len(each),
            "seconds_per_network": {"mean": mean, "min": min(each), "max": max(each)},
        },
        "times_faster": one_by_one / seconds,
        "scores": {
            "largest_difference": max(apart),
            "median_difference": float(np.median(apart)),
            "networks_compared": len(apart),
            "kept_at_the_same_epoch": sum(same_epoch),
        },
    }


def _timed(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    _wait(device)
    started = time.perf_counter()
    done = work()
    _wait(device)
    return done, time.perf_counter() - started


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _machine(device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    return {"device": device, "name": name, "torch": torch.__version__, "python": platform.python_version()}


def _memory(device: str) -> float:
    """Peak MiB of the GPU, or of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def table(figures: dict[str, Any]) -> str:
    """The figures as aligned text."""
    work, together, alone, scores = (figures[name] for name in ("workload", "batched", "one_by_one", "scores"))
    low, high = alone["interval_95"]
    source = f"from {alone['extrapolated_from']} networks" if alone["extrapolated_from"] else "all trained"
    lines = (
        ("device", f"{figures['machine']['name']} ({figures['machine']['device']})"),
        ("networks", f"{work['networks']:,} on {work['rows']} x {work['columns']}, {work['epochs']} epochs"),
        ("one batch", f"{together['seconds']:.2f} s, {together['memory_mib']:,.0f} MiB"),
        ("one by one", f"{alone['seconds']:,.0f} s ({low:,.0f} to {high:,.0f}, {source})"),
        ("times faster", f"{figures['times_faster']:.0f}"),
        ("scores differ by", f"{scores['median_difference']:.1e} (median), {scores['largest_difference']:.1e} (most)"),
        ("same epoch kept", f"{scores['kept_at_the_same_epoch']} of {scores['networks_compared']} compared"),
    )
    return "\n".join(f"{name:<18}{value}" for name, value in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--cancers", type=int, default=55, help="cancer types; each brings 80 networks")
    parser.add_argument("--rows", type=int, default=ROWS, help="subjects of a cancer type")
    parser.add_argument("--columns", type=int, default=COLUMNS, help="columns of the encoded features")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--stop-early", action="store_true", help="each network stops by its own held-out loss")
    parser.add_argument("--sample", type=int, default=24, help="networks trained one by one, to extrapolate from")
    parser.add_argument("--complete", action="store_true", help="train all of them one by one")
    parser.add_argument("--at-once", type=int, help="most networks in memory together; by default what fits")
    parser.add_argument("--tf32", action="store_true", help="TF32 matrix products on the GPU; scores then differ more")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    figures = measure(arguments)
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
