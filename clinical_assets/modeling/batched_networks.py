"""Many small networks trained as one padded, masked, batched problem; torch and numpy only, on a CPU or a GPU.

A network is a layer of softsign units beside a linear skip: with strong penalties it is a ridge regression. Each
network of a batch has its own rows, columns, units, loss, rates and seed, and stops on its own held-out rows.
Gradients are written out by hand: one step of the whole batch is four batched matrix products, some elementwise passes
and one Adam update over stacked weights.

Padding depends on the network alone, and every operation works network by network: on a CPU a network's weights are the
same to the last bit whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

Loss = Literal["cox", "hazard", "binomial"]

MOMENTS = (0.9, 0.999)  # Adam's rates (Kingma & Ba 2015)
EPSILON = 1e-8
SMALLEST_LOG_RATIO = -60.0  # a hazard below exp(-60) of the largest counts as that much, so that no risk set is empty
CHECK_EVERY = 5  # epochs between looks at how many networks still learn: a look makes the GPU wait
CACHE_BYTES = 32 << 20  # what a batch on a CPU may take, about its last-level cache


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows to learn from or to stop on: `rows` (n, columns), `flag` (n,) the event or the label, `times` (n,) the
    follow-up of a survival endpoint. Networks that share a sample should share the object: it is packed once.

    Raises:
        ValueError: lengths differ, there is no row, or a value is not finite.
    """

    rows: np.ndarray
    flag: np.ndarray
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or len(self.rows) == 0 or self.flag.shape != self.rows.shape[:1]:
            raise ValueError(f"a sample of rows {self.rows.shape} with outcomes {self.flag.shape}")
        if not np.isfinite(self.rows).all():
            raise ValueError(f"{int((~np.isfinite(self.rows)).sum())} values of a sample's rows are not finite")
        if self.times is not None and (self.times.shape != self.flag.shape or not np.isfinite(self.times).all()):
            raise ValueError(f"follow-up {self.times.shape} of {len(self.rows)} rows, or a value that is not finite")


@dataclass(frozen=True, eq=False)
class Network:
    """One network to train.

    Args:
        training: rows to learn from.
        held_out: rows whose loss decides when to stop.
        loss: negative log likelihood per row. `cox`: the partial one with Breslow's ties (Katzman et al. 2018);
            `hazard`: of one logit per interval of time (Gensheimer & Narasimhan 2019); `binomial`: of a label.
        seed: of the initial weights.
        units: width of the hidden layer.
        learning_rate: Adam's step.
        skip_penalty: half of it times the squared weights of the skip is added to the loss, as in ridge regression.
        unit_penalty: the same for the weights into and out of the units.
        breaks: right ends of the intervals of a `hazard` loss. Who is censored inside an interval counts by the share
            of it that was seen, as under a hazard constant there (Kvamme & Borgan 2021).

    Raises:
        ValueError: the samples do not fit the loss or each other, or hold no event for a partial likelihood.
    """

    training: Sample
    held_out: Sample
    loss: Loss
    seed: int
    units: int = 16
    learning_rate: float = 0.03
    skip_penalty: float = 0.3
    unit_penalty: float = 0.03
    breaks: np.ndarray | None = None

    def __post_init__(self) -> None:
        for sample in (self.training, self.held_out):
            if (sample.times is None) != (self.loss == "binomial"):
                raise ValueError(f"a {self.loss} loss with {'no' if sample.times is None else 'a'} follow-up time")
            if self.loss == "cox" and not sample.flag.any():
                raise ValueError(f"no event among {len(sample.flag)} rows: their partial likelihood is empty")
        if self.training.rows.shape[1] != self.held_out.rows.shape[1]:
            raise ValueError(f"rows of {self.training.rows.shape[1]} and of {self.held_out.rows.shape[1]} columns")
        if (self.breaks is None) == (self.loss == "hazard"):
            raise ValueError("breaks belong to a hazard loss, and to no other")

    @property
    def columns(self) -> int:
        return self.training.rows.shape[1]

    @property
    def outputs(self) -> int:
        return 1 if self.breaks is None else len(self.breaks)


@dataclass(frozen=True)
class Schedule:
    """At most `epochs` full-batch steps. A network keeps the last weights whose held-out loss is within `slack` of its
    lowest so far, and stops `patience` epochs later: with few held-out events the lowest itself comes too early."""

    epochs: int = 60
    patience: int = 8
    slack: float = 0.005


@dataclass(frozen=True)
class Weights:
    """`hidden` (columns, units), `bias` (units,), `output` (units, outputs), `skip` (columns, 1), `intercept`
    (outputs,); the skip adds the same to every output."""

    hidden: np.ndarray
    bias: np.ndarray
    output: np.ndarray
    skip: np.ndarray
    intercept: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, outputs)."""
        return softsign(rows @ self.hidden + self.bias) @ self.output + rows @ self.skip + self.intercept


@dataclass(frozen=True)
class Fitted:
    """The weights that were kept, the lowest held-out loss, and the epoch of the weights."""

    weights: Weights
    held_out_loss: float
    epoch: int


def softsign(values: np.ndarray) -> np.ndarray:
    """`x / (1 + |x|)`: bounded and smooth as tanh, at an eighth of its time, and of operations that IEEE 754 fixes."""
    return values / (1.0 + np.abs(values))


def initial_weights(network: Network) -> Weights:
    """Drawn from the network's own seed; the intercepts start at the training rows' log odds."""
    rng = np.random.Generator(np.random.Philox(network.seed))
    columns, units = network.columns, network.units
    intercept = np.zeros(1)
    if network.loss != "cox":
        seen, happened = at_risk(network.training, network.breaks)
        share = (happened.sum(axis=1) + 0.5) / (seen.sum(axis=1) + 1.0)
        intercept = np.log(share / (1.0 - share))
    return Weights(
        hidden=rng.standard_normal((columns, units)) * columns**-0.5,
        bias=rng.standard_normal(units) * 0.1,
        output=rng.standard_normal((units, network.outputs)) * 0.1 * max(units, 1) ** -0.5,
        skip=np.zeros((columns, 1)),
        intercept=intercept,
    )


def at_risk(sample: Sample, breaks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, n) share of each interval that a row was seen at risk, and whether its event fell into it; without
    `breaks` one interval in which the label is the event."""
    if breaks is None or sample.times is None:
        return np.ones((1, len(sample.flag))), sample.flag[None, :].astype(np.float64)
    right = breaks[:, None]
    left = np.concatenate(([-np.inf], breaks[:-1]))[:, None]
    happened = sample.flag & (sample.times > left) & (sample.times <= right)
    left[0] = 0.0
    seen = np.clip((sample.times - left) / (right - left), 0.0, 1.0)
    return np.where(happened, 1.0, seen), happened.astype(np.float64)


def train(
    networks: Sequence[Network],
    schedule: Schedule | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    at_once: int | None = None,
) -> list[Fitted]:
    """Train every network; results come in the order of `networks`.

    On a CPU one thread works: a threaded sum adds in another order and changes the last bits.

    Args:
        at_once: most networks in memory together; by default what fits the cache of a CPU core, or half of the GPU's
            free memory.
    """
    schedule, device = schedule or Schedule(), torch.device(device)
    groups: dict[_Shape, list[int]] = {}
    for index, network in enumerate(networks):
        groups.setdefault(_Shape.of(network), []).append(index)
    fitted: dict[int, Fitted] = {}
    with _one_thread(), torch.no_grad():
        for shape, members in groups.items():
            size = at_once or shape.fitting(device, dtype)
            for start in range(0, len(members), size):
                chunk = members[start : start + size]
                batch = _Batch([networks[index] for index in chunk], shape, {"device": device, "dtype": dtype})
                fitted.update(zip(chunk, batch.descend(schedule), strict=True))
    return [fitted[index] for index in range(len(networks))]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Shape(NamedTuple):
    """Padded sizes, which depend on the network alone; networks of one shape form a batch.

    Weights are one row per network: an inner block (units + 1, columns) of the weights onto the units and, last, the
    skip, whose last column belongs to the constant; an outer block (outputs, units + 1) of the weights from the units
    and, last, the intercepts.
    """

    loss: Loss
    training: int
    held_out: int
    columns: int
    units: int
    outputs: int

    @classmethod
    def of(cls, network: Network) -> _Shape:
        return cls(
            network.loss,
            _padded_rows(len(network.training.flag)),
            _padded_rows(len(network.held_out.flag)),
            _multiple(network.columns + 1, 4),
            _multiple(network.units, 8),
            network.outputs if network.outputs == 1 else _multiple(network.outputs, 4),
        )

    @property
    def weights(self) -> int:
        return _multiple((self.units + 1) * (self.columns + self.outputs), 32)

    def fitting(self, device: torch.device, dtype: torch.dtype) -> int:
        """How many networks fit."""
        rows, longest = self.training + self.held_out, max(self.training, self.held_out)
        numbers = rows * (self.columns + 4 * self.outputs + 4) + 3 * longest * (self.units + 1) + 8 * self.weights
        room = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CACHE_BYTES
        return max(1, room // (numbers * dtype.itemsize))

    def blocks(self, flat: Any) -> tuple[Any, Any]:
        """Views (networks, units + 1, columns) and (networks, outputs, units + 1) of stacked weights."""
        end = (self.units + 1) * self.columns
        outer = flat[:, end : end + self.outputs * (self.units + 1)]
        return (
            flat[:, :end].reshape(-1, self.units + 1, self.columns),
            outer.reshape(-1, self.outputs, self.units + 1),
        )

    def flat(self, weights: Weights) -> np.ndarray:
        """(1, weights) with zeros in the padding."""
        flat = np.zeros((1, self.weights))
        (inner,), (outer,) = self.blocks(flat)
        columns, units = weights.hidden.shape
        outputs = len(weights.intercept)
        inner[:units, :columns], inner[:units, -1], inner[-1, :columns] = weights.hidden.T, weights.bias, weights.skip.T
        outer[:outputs, :units], outer[:outputs, -1] = weights.output.T, weights.intercept
        return flat

    def pattern(self, units: float, skip: float, bias: float, intercept: float) -> np.ndarray:
        """(1, weights): one number for each kind of weight, 0 for the skip's constant."""
        flat = np.zeros((1, self.weights))
        (inner,), (outer,) = self.blocks(flat)
        inner[:-1, :-1], inner[-1, :-1], inner[:-1, -1] = units, skip, bias
        outer[:, :-1], outer[:, -1] = units, intercept
        return flat

    def unpadded(self, flat: np.ndarray, network: Network) -> Weights:
        (inner,), (outer,) = self.blocks(flat[None].astype(np.float64))
        columns, units, outputs = network.columns, network.units, network.outputs
        return Weights(
            hidden=inner[:units, :columns].T.copy(),
            bias=inner[:units, -1].copy(),
            output=outer[:outputs, :units].T.copy(),
            skip=inner[-1:, :columns].T.copy(),
            intercept=outer[:outputs, -1].copy(),
        )


def _padded_rows(rows: int) -> int:
    """At most an eighth more, in steps of 32: whole vector registers, so that no operation has a remainder."""
    return _multiple(rows, max(32, (1 << (rows.bit_length() - 1)) // 8))


def _multiple(size: int, step: int) -> int:
    return -(-size // step) * step


Packed = dict[str, np.ndarray]


class _CoxLoss:
    """Negative log partial likelihood per row. Rows come latest first, so that a risk set is a cumulative sum.

    `last_tied` finds, for the q-th row counted from the earliest, the last row tied with it; `so_far` finds, for each
    row, the last q whose event happened by its time. Both sums add positive terms only, small ones first.
    """

    def __init__(self, packed: dict[str, torch.Tensor]) -> None:
        self.packed = packed

    @staticmethod
    def pack(sample: Sample, breaks: np.ndarray | None, size: int, outputs: int) -> Packed:
        assert sample.times is not None
        order = np.argsort(-sample.times, kind="stable")
        later, event = -sample.times[order], sample.flag[order]
        return {
            "rows": sample.rows[order].T,
            "real": _wide(np.ones(len(order)), size),
            "event": _wide(event, size),
            "event_so_far": _wide(event[::-1], size),
            "last_tied": _wide(np.searchsorted(later, later, side="right")[::-1] - 1, size, np.int64),
            "so_far": _wide(len(order) - 1 - np.searchsorted(later, later, side="left"), size, np.int64),
            "count": np.array([float(len(order))]),
        }

    def value(self, score: torch.Tensor) -> torch.Tensor:
        _, largest, risk = self._risk(score)
        above = self.packed["event"] * (largest - score[:, 0])
        return ((self.packed["event_so_far"] * risk.log()).sum(1) + above.sum(1)) / self.packed["count"][:, 0]

    def slope(self, score: torch.Tensor) -> torch.Tensor:
        ratio, _, risk = self._risk(score)
        hazard = (self.packed["event_so_far"] / risk).cumsum(1).gather(1, self.packed["so_far"])
        return ((ratio * hazard - self.packed["event"]) / self.packed["count"])[:, None]

    def _risk(self, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Hazard ratios to the largest, that log hazard, and the sums over the risk sets, earliest first."""
        real = self.packed["real"]
        largest = torch.where(real > 0, score[:, 0], -torch.inf).amax(1, keepdim=True)
        ratio = (score[:, 0] - largest).clamp_(SMALLEST_LOG_RATIO, 0.0).exp_() * real
        return ratio, largest, ratio.cumsum(1).gather(1, self.packed["last_tied"])


class _BernoulliLoss:
    """Negative log likelihood per row of one label, or of one chance per interval that a row entered."""

    def __init__(self, packed: dict[str, torch.Tensor]) -> None:
        self.packed = packed

    @staticmethod
    def pack(sample: Sample, breaks: np.ndarray | None, size: int, outputs: int) -> Packed:
        seen, happened = at_risk(sample, breaks)
        missing = [(0, outputs - len(seen)), (0, size - len(sample.flag))]
        return {
            "rows": sample.rows.T,
            "seen": np.pad(seen, missing),
            "happened": np.pad(happened, missing),
            "count": np.full((1, 1), float(len(sample.flag))),
        }

    def value(self, score: torch.Tensor) -> torch.Tensor:
        each = self.packed["seen"] * torch.nn.functional.softplus(score) - self.packed["happened"] * score
        return each.sum((1, 2)) / self.packed["count"][:, 0, 0]

    def slope(self, score: torch.Tensor) -> torch.Tensor:
        return (self.packed["seen"] * score.sigmoid() - self.packed["happened"]) / self.packed["count"]


def _wide(values: np.ndarray, size: int, kind: type = np.float64) -> np.ndarray:
    wide = np.zeros(size, dtype=kind)
    wide[: len(values)] = values
    return wide


class _Side:
    """The training or the held-out rows of every network, (networks, columns, n), and their loss."""

    def __init__(self, rows: torch.Tensor, loss: _CoxLoss | _BernoulliLoss) -> None:
        self.rows, self.loss = rows, loss

    @classmethod
    def of(cls, samples: list[Sample], networks: list[Network], shape: _Shape, size: int, to: dict[str, Any]) -> _Side:
        """Pack each distinct sample once, then spread it over the networks on the device."""
        kind = _CoxLoss if shape.loss == "cox" else _BernoulliLoss
        position: dict[tuple[int, bytes], int] = {}
        packed, spread = [], []
        for sample, network in zip(samples, networks, strict=True):
            key = id(sample), b"" if network.breaks is None else network.breaks.tobytes()
            if key not in position:
                position[key] = len(packed)
                parts = kind.pack(sample, network.breaks, size, shape.outputs)
                wide = np.zeros((shape.columns, size))
                wide[: sample.rows.shape[1], : len(sample.flag)] = parts["rows"]
                wide[-1] = 1.0
                packed.append(parts | {"rows": wide})
            spread.append(position[key])
        place = torch.tensor(spread, device=to["device"])
        tensors = {}
        for name in packed[0]:
            stacked = torch.as_tensor(np.stack([parts[name] for parts in packed]))
            stacked = stacked.to(to["dtype"]) if stacked.is_floating_point() else stacked
            tensors[name] = stacked.to(to["device"])[place]
        return cls(tensors.pop("rows"), kind(tensors))

    def take(self, kept: torch.Tensor) -> _Side:
        packed = {name: tensor[kept] for name, tensor in self.loss.packed.items()}
        return _Side(self.rows[kept], type(self.loss)(packed))


class _Batch:
    """Networks of one shape that still learn. Zero padding stays zero: a padded column is zero in every row, a padded
    unit or output has no slope. The skip's constant, which would repeat the intercept, and an intercept in a partial
    likelihood, from which it cancels, are not identified and stay where they start."""

    PER_NETWORK = ("weights", "rate", "penalty", "mean", "square", "best", "lowest", "reached", "place")

    def __init__(self, networks: list[Network], shape: _Shape, to: dict[str, Any]) -> None:
        self.networks, self.shape = networks, shape
        self.training = _Side.of([one.training for one in networks], networks, shape, shape.training, to)
        self.held_out = _Side.of([one.held_out for one in networks], networks, shape, shape.held_out, to)

        count = len(networks)
        penalties = np.array([[one.unit_penalty, one.skip_penalty] for one in networks])
        pattern = np.concatenate((shape.pattern(1.0, 0.0, 0.0, 0.0), shape.pattern(0.0, 1.0, 0.0, 0.0)))
        self.weights = torch.as_tensor(np.concatenate([shape.flat(initial_weights(one)) for one in networks])).to(**to)
        self.penalty = torch.as_tensor(penalties @ pattern).to(**to)
        self.identified = torch.as_tensor(shape.pattern(1.0, 1.0, 1.0, float(shape.loss != "cox"))).to(**to)
        self.rate = torch.tensor([[one.learning_rate] for one in networks], **to)
        self.mean, self.square, self.best, self.gradient = (torch.zeros_like(self.weights) for _ in range(4))
        self.lowest = torch.full((count,), torch.inf, **to)
        self.reached = torch.zeros(count, dtype=torch.int64, device=to["device"])
        self.running = torch.ones(count, dtype=torch.bool, device=to["device"])
        self.place = torch.arange(count, device=to["device"])
        self.finished: list[tuple[torch.Tensor, ...]] = []
        self.work = torch.empty((3, count * (shape.units + 1) * max(shape.training, shape.held_out)), **to)

    def descend(self, schedule: Schedule) -> list[Fitted]:
        for epoch in range(schedule.epochs + 1):
            self._validate(epoch, schedule)
            if epoch % CHECK_EVERY == 0:
                self._retire_finished()
            if not len(self.place) or epoch == schedule.epochs:
                break
            self._step(epoch + 1)
        return self._results()

    def _forward(self, side: _Side) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scores (networks, outputs, n), and what the backward pass needs: before, damping and after the units."""
        inner, outer = self.shape.blocks(self.weights)
        units, count, n = self.shape.units, len(side.rows), side.rows.shape[2]
        before, damping, after = (flat[: count * (units + 1) * n].view(count, units + 1, n) for flat in self.work)
        torch.bmm(inner, side.rows, out=before)
        torch.abs(before, out=damping).add_(1.0).reciprocal_()
        torch.mul(before, damping, out=after)
        after[:, units] = 1.0
        return torch.bmm(outer, after).add_(before[:, units:]), before, damping, after

    def _validate(self, epoch: int, schedule: Schedule) -> None:
        loss = self.held_out.loss.value(self._forward(self.held_out)[0])
        kept = self.running & (loss < self.lowest + schedule.slack)
        self.lowest = torch.where(kept, torch.minimum(loss, self.lowest), self.lowest)
        self.best = torch.where(kept[:, None], self.weights, self.best)
        self.reached.masked_fill_(kept, epoch)
        self.running &= epoch - self.reached < schedule.patience

    def _step(self, number: int) -> None:
        """Backward pass and Adam's update `number`, from 1."""
        units = self.shape.units
        score, before, damping, after = self._forward(self.training)
        slope = self.training.loss.slope(score)
        inner, outer = self.shape.blocks(self.gradient)
        outer.copy_(torch.bmm(slope, after.mT))
        torch.bmm(self.shape.blocks(self.weights)[1].mT, slope, out=before).mul_(damping).mul_(damping)
        before[:, units] = slope.sum(1)
        inner.copy_(torch.bmm(before, self.training.rows.mT))
        self.gradient.addcmul_(self.weights, self.penalty).mul_(self.identified)
        self.mean.lerp_(self.gradient, 1.0 - MOMENTS[0])
        self.square.mul_(MOMENTS[1]).addcmul_(self.gradient, self.gradient, value=1.0 - MOMENTS[1])
        spread = (self.square / (1.0 - MOMENTS[1] ** number)).sqrt_().add_(EPSILON)
        self.weights.sub_(torch.div(self.mean, spread).mul_(self.rate / (1.0 - MOMENTS[0] ** number)))

    def _retire_finished(self) -> None:
        """Take finished networks out once they are a fifth of the batch."""
        if int(self.running.sum()) > 0.8 * len(self.place):
            return
        self._record(~self.running)
        kept = self.running.nonzero()[:, 0]
        self.training, self.held_out = self.training.take(kept), self.held_out.take(kept)
        for name in self.PER_NETWORK:
            setattr(self, name, getattr(self, name)[kept])
        self.running, self.gradient = self.running[kept], torch.zeros_like(self.weights)

    def _record(self, which: torch.Tensor) -> None:
        self.finished.append(tuple(one[which] for one in (self.place, self.best, self.lowest, self.reached)))

    def _results(self) -> list[Fitted]:
        self._record(torch.ones_like(self.running))
        place, best, lowest, reached = (torch.cat(parts).cpu().numpy() for parts in zip(*self.finished, strict=True))
        return [
            Fitted(self.shape.unpadded(best[at], network), float(lowest[at]), int(reached[at]))
            for at, network in zip(np.argsort(place), self.networks, strict=True)
        ]
