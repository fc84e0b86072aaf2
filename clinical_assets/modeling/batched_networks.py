"""Many small networks trained as one padded, masked, batched problem; torch and numpy only, on a CPU or a GPU.

A network is a layer of softsign units beside a linear skip, so that with no units it is a Cox, logistic or
discrete-time regression. Each network of a batch has its own rows, columns, units, loss, rates and seed, and
stops on its own held-out rows. Gradients are written out by hand: one training step of the whole batch is four batched
matrix products, a few elementwise passes and one AdamW update over stacked weights.

Padding depends on the network alone, and every operation works network by network. On a CPU (one thread) a network's
weights are therefore the same to the last bit whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

Loss = Literal["cox", "hazard", "binomial"]

DECAY_RATES = (0.9, 0.999)  # of AdamW's moments (Loshchilov & Hutter 2019)
EPSILON = 1e-8
SMALLEST_LOG_RATIO = -60.0  # a hazard below exp(-60) of the largest counts as that much, so that no risk set is empty
CHECK_EVERY = 10  # epochs between looks at how many networks still learn: a look makes the GPU wait
CACHE_BYTES = 6 << 20  # working set of a batch on a CPU, about the cache of one core


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
    """One member of the batch.

    Args:
        training: rows to learn from.
        held_out: rows whose loss decides when to stop.
        loss: `cox` is the negative log partial likelihood per event (Breslow's ties; Katzman et al. 2018), `hazard`
            that of one logit per interval (Gensheimer & Narasimhan 2019), `binomial` the cross-entropy, per row.
        breaks: right ends of the intervals of a `hazard` loss. Who is censored inside an interval counts by the share
            of it that was seen, as under a hazard constant there (Kvamme & Borgan 2021).
        units: width of the hidden layer.
        weight_decay: AdamW's, on all weights but biases and intercepts.
        seed: of the initial weights.

    Raises:
        ValueError: the samples do not fit the loss or each other, or training rows without an event.
    """

    training: Sample
    held_out: Sample
    loss: Loss
    seed: int
    units: int = 16
    learning_rate: float = 0.02
    weight_decay: float = 0.05
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
    """At most `epochs` steps; a network stops after `patience` epochs in which its held-out loss fell by less than
    `gain` below its lowest, and keeps the weights of that lowest."""

    epochs: int = 200
    patience: int = 15
    gain: float = 1e-5


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
    """Weights at the lowest held-out loss, that loss, and the epoch at which it was reached."""

    weights: Weights
    held_out_loss: float
    epoch: int


def softsign(values: np.ndarray) -> np.ndarray:
    """`x / (1 + |x|)`: bounded and smooth as tanh, but of exact operations, so that every machine agrees on it."""
    return values / (1.0 + np.abs(values))


def initial_weights(network: Network) -> Weights:
    """Drawn from the network's own seed; the intercepts start at the training rows' log odds."""
    rng = np.random.Generator(np.random.Philox(network.seed))
    columns, units, outputs = network.columns, network.units, network.outputs
    intercept = np.zeros(outputs)
    if network.loss != "cox":
        seen, happened = targets(network.training, network.breaks)
        share = (happened.sum(axis=1) + 0.5) / (seen.sum(axis=1) + 1.0)
        intercept = np.log(share / (1.0 - np.minimum(share, 0.999)))
    return Weights(
        hidden=rng.standard_normal((columns, units)) * columns**-0.5,
        bias=rng.standard_normal(units) * 0.1,
        output=rng.standard_normal((units, outputs)) * 0.1 * max(units, 1) ** -0.5,
        skip=np.zeros((columns, 1)),
        intercept=intercept,
    )


def targets(sample: Sample, breaks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, n) share of each interval during which a row was at risk, and whether its event fell into it."""
    if breaks is None or sample.times is None:
        return np.ones((1, len(sample.flag))), sample.flag[None, :].astype(np.float64)
    left = np.concatenate(([0.0], breaks[:-1]))[:, None]
    happened = sample.flag & (sample.times > left) & (sample.times <= breaks[:, None])
    happened[0] |= sample.flag & (sample.times <= 0.0)
    seen = np.clip((sample.times - left) / (breaks[:, None] - left), 0.0, 1.0)
    return np.where(happened, 1.0, seen), happened.astype(np.float64)


def train(
    networks: Sequence[Network],
    schedule: Schedule | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    at_once: int | None = None,
) -> list[Fitted]:
    """Train every network; results come in the order of `networks`.

    Args:
        at_once: most networks in memory together; by default what fits the cache of a CPU core or half of the GPU's
            free memory.
    """
    schedule, device = schedule or Schedule(), torch.device(device)
    fitted: dict[int, Fitted] = {}
    groups: dict[_Shape, list[int]] = {}
    for index, network in enumerate(networks):
        groups.setdefault(_Shape.of(network), []).append(index)
    with _one_thread(), torch.no_grad():
        for shape, members in groups.items():
            size = at_once or shape.fitting(device, dtype)
            for start in range(0, len(members), size):
                chunk = members[start : start + size]
                batch = _Batch([networks[index] for index in chunk], shape, device, dtype)
                fitted.update(zip(chunk, _descend(batch, schedule), strict=True))
    return [fitted[index] for index in range(len(networks))]


def _descend(batch: _Batch, schedule: Schedule) -> list[Fitted]:
    for epoch in range(schedule.epochs + 1):
        batch.validate(epoch, schedule)
        if epoch % CHECK_EVERY == 0:
            batch.retire_finished()
        if not batch.place.numel() or epoch == schedule.epochs:
            break
        batch.step(epoch + 1)
    return batch.results()


@contextmanager
def _one_thread() -> Iterator[None]:
    """A CPU's threaded sums add in another order and change the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Shape(NamedTuple):
    """Padded sizes, which depend on the network alone; networks of one shape form a batch."""

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
    def inner(self) -> tuple[int, int]:
        """Weights onto the units and, last, the skip; the last column belongs to the constant."""
        return self.units + 1, self.columns

    @property
    def outer(self) -> tuple[int, int]:
        """Weights from the units and, last, the intercept."""
        return self.outputs, self.units + 1

    @property
    def weights(self) -> int:
        return _multiple(int(np.prod(self.inner) + np.prod(self.outer)), 32)

    def fitting(self, device: torch.device, dtype: torch.dtype) -> int:
        """How many networks fit."""
        rows = self.training + self.held_out
        numbers = rows * (self.columns + 8 * self.outputs) + self.training * 4 * (self.units + 1) + 6 * self.weights
        room = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CACHE_BYTES
        return max(1, room // (numbers * dtype.itemsize))


def _padded_rows(rows: int) -> int:
    """At most an eighth more, in steps of 32: whole vector registers, so that no operation has a remainder."""
    return _multiple(rows, max(32, (1 << (rows.bit_length() - 1)) // 8))


def _multiple(size: int, step: int) -> int:
    return -(-size // step) * step


Packed = dict[str, np.ndarray]


class _CoxLoss:
    """Negative log partial likelihood per event. Rows come latest first, so that a risk set is a cumulative sum.

    `at_risk` finds, for the q-th row counted from the earliest, the last row tied with it; `so_far` finds, for each
    row, the last q whose event happened by its time. Both sums only add positive terms from the small end.
    """

    def __init__(self, packed: dict[str, torch.Tensor]) -> None:
        self.packed = packed

    @staticmethod
    def pack(sample: Sample, breaks: np.ndarray | None, size: int, outputs: int) -> Packed:
        assert sample.times is not None
        order = np.argsort(-sample.times, kind="stable")
        later, event = -sample.times[order], sample.flag[order]
        last_tied = np.searchsorted(later, later, side="right") - 1
        first_tied = np.searchsorted(later, later, side="left")
        return {
            "rows": sample.rows[order].T,
            "real": _wide(np.ones(len(order)), size),
            "event": _wide(event, size),
            "event_so_far": _wide(event[::-1], size),
            "at_risk": _wide(last_tied[::-1], size, np.int64),
            "so_far": _wide(len(order) - 1 - first_tied, size, np.int64),
            "events": np.array([float(event.sum())]),
        }

    def value(self, score: torch.Tensor) -> torch.Tensor:
        _, largest, at_risk = self._risk(score)
        above = self.packed["event"] * (largest - score[:, 0])
        return ((self.packed["event_so_far"] * at_risk.log()).sum(1) + above.sum(1)) / self.packed["events"][:, 0]

    def slope(self, score: torch.Tensor) -> torch.Tensor:
        ratio, _, at_risk = self._risk(score)
        hazard = (self.packed["event_so_far"] / at_risk).cumsum(1).gather(1, self.packed["so_far"])
        return ((ratio * hazard - self.packed["event"]) / self.packed["events"])[:, None]

    def _risk(self, score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Hazard ratios to the largest, that log hazard, and the sums over the risk sets, earliest first."""
        real = self.packed["real"]
        largest = torch.where(real > 0, score[:, 0], -torch.inf).amax(1, keepdim=True)
        ratio = (score[:, 0] - largest).clamp_(SMALLEST_LOG_RATIO, 0.0).exp_() * real
        return ratio, largest, ratio.cumsum(1).gather(1, self.packed["at_risk"])


class _BernoulliLoss:
    """Negative log likelihood per row of one label, or of one chance per interval that a row entered."""

    def __init__(self, packed: dict[str, torch.Tensor]) -> None:
        self.packed = packed

    @staticmethod
    def pack(sample: Sample, breaks: np.ndarray | None, size: int, outputs: int) -> Packed:
        seen, happened = targets(sample, breaks)
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


_LOSSES = {"cox": _CoxLoss, "hazard": _BernoulliLoss, "binomial": _BernoulliLoss}


def _wide(values: np.ndarray, size: int, kind: type = np.float64) -> np.ndarray:
    wide = np.zeros(size, dtype=kind)
    wide[: len(values)] = values
    return wide


class _Side:
    """The training or the held-out rows of every network, (networks, columns, rows), and their loss."""

    def __init__(self, rows: torch.Tensor, loss: _CoxLoss | _BernoulliLoss) -> None:
        self.rows, self.loss = rows, loss

    @classmethod
    def of(cls, samples: list[tuple[Sample, np.ndarray | None]], shape: _Shape, size: int, to: dict) -> _Side:
        kind = _LOSSES[shape.loss]
        distinct: dict[tuple[int, bytes], int] = {}
        position, packed, rows = [], [], []
        for sample, breaks in samples:
            key = id(sample), b"" if breaks is None else breaks.tobytes()
            if key not in distinct:
                distinct[key] = len(distinct)
                packed.append(kind.pack(sample, breaks, size, shape.outputs))
                wide = np.zeros((shape.columns, size), dtype=np.float32 if to["dtype"] == torch.float32 else np.float64)
                columns = packed[-1].pop("rows")
                wide[: len(columns), : columns.shape[1]] = columns
                wide[-1] = 1.0
                rows.append(wide)
            position.append(distinct[key])
        spread = torch.tensor(position, device=to["device"])

        def stacked(parts: list[np.ndarray]) -> torch.Tensor:
            tensor = torch.as_tensor(np.stack(parts))
            kind = to["dtype"] if tensor.is_floating_point() else tensor.dtype
            return tensor.to(to["device"], kind)[spread]

        return cls(stacked(rows), kind({name: stacked([one[name] for one in packed]) for name in packed[0]}))

    def take(self, kept: torch.Tensor) -> _Side:
        packed = {name: tensor[kept] for name, tensor in self.loss.packed.items()}
        return _Side(self.rows[kept], type(self.loss)(packed))


class _Batch:
    """Networks of one shape that still learn. Weights are one row each: the inner block, then the outer one.

    Zero padding stays zero: a padded column is zero in every row, a padded unit or output has no slope.
    """

    def __init__(self, networks: list[Network], shape: _Shape, device: torch.device, dtype: torch.dtype) -> None:
        to = {"device": device, "dtype": dtype}
        self.networks, self.shape = networks, shape
        self.training = _Side.of([(one.training, one.breaks) for one in networks], shape, shape.training, to)
        self.held_out = _Side.of([(one.held_out, one.breaks) for one in networks], shape, shape.held_out, to)
        start = np.stack([_flat(initial_weights(one), shape) for one in networks])
        rate = np.array([[one.learning_rate] for one in networks])
        decay = np.array([[one.weight_decay] for one in networks])
        count = len(networks)
        self.weights = torch.as_tensor(start).to(**to)
        self.rate = torch.as_tensor(rate).to(**to)
        self.shrinkage = torch.as_tensor(1.0 - rate * decay * _decayed(shape)).to(**to)
        self.identified = torch.as_tensor(_identified(shape)).to(**to)
        self.mean, self.square, self.best = (torch.zeros_like(self.weights) for _ in range(3))
        self.lowest = torch.full((count,), torch.inf, **to)
        self.reached = torch.zeros(count, dtype=torch.int64, device=device)
        self.running = torch.ones(count, dtype=torch.bool, device=device)
        self.place = torch.arange(count, device=device)
        self.finished: list[tuple[torch.Tensor, ...]] = []
        self.gradient = torch.zeros_like(self.weights)
        longest = max(shape.training, shape.held_out)
        self.work = torch.empty((3, count * (shape.units + 1) * longest), **to)

    def _blocks(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inner, outer = self.shape.inner, self.shape.outer
        end = inner[0] * inner[1]
        return flat[:, :end].unflatten(1, inner), flat[:, end : end + outer[0] * outer[1]].unflatten(1, outer)

    def _forward(self, side: _Side) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scores (networks, outputs, n), and what the backward pass needs: before, damping and after the units."""
        inner, outer = self._blocks(self.weights)
        units, (count, _, n) = self.shape.units, side.rows.shape
        before, damping, after = (flat[: count * (units + 1) * n].view(count, units + 1, n) for flat in self.work)
        torch.bmm(inner, side.rows, out=before)
        torch.abs(before, out=damping).add_(1.0).reciprocal_()
        torch.mul(before, damping, out=after)
        after[:, units] = 1.0
        return torch.bmm(outer, after).add_(before[:, units:]), before, damping, after

    def validate(self, epoch: int, schedule: Schedule) -> None:
        """Keep the weights of every network that is at its lowest held-out loss so far."""
        loss = self.held_out.loss.value(self._forward(self.held_out)[0])
        better = self.running & (loss < self.lowest - schedule.gain)
        self.lowest = torch.where(better, loss, self.lowest)
        self.best = torch.where(better[:, None], self.weights, self.best)
        self.reached.masked_fill_(better, epoch)
        self.running &= epoch - self.reached < schedule.patience

    def step(self, number: int) -> None:
        """Backward pass and AdamW update number `number`, from 1."""
        units = self.shape.units
        score, before, damping, after = self._forward(self.training)
        slope = self.training.loss.slope(score)
        outer = self._blocks(self.weights)[1]
        inner_gradient, outer_gradient = self._blocks(self.gradient)
        torch.bmm(outer.mT, slope, out=before).mul_(damping).mul_(damping)
        before[:, units] = slope.sum(1)
        inner_gradient.copy_(torch.bmm(before, self.training.rows.mT))
        outer_gradient.copy_(torch.bmm(slope, after.mT))
        self.gradient.mul_(self.identified)
        self.mean.lerp_(self.gradient, 1.0 - DECAY_RATES[0])
        self.square.mul_(DECAY_RATES[1]).addcmul_(self.gradient, self.gradient, value=1.0 - DECAY_RATES[1])
        scale = (self.square / (1.0 - DECAY_RATES[1] ** number)).sqrt_().add_(EPSILON)
        move = torch.div(self.mean, scale).mul_(self.rate / (1.0 - DECAY_RATES[0] ** number))
        self.weights.mul_(self.shrinkage).sub_(move)

    def retire_finished(self) -> None:
        """Take finished networks out, once they are a fifth of the batch."""
        learning = int(self.running.sum())
        if learning > 0.8 * len(self.place):
            return
        self._record(~self.running)
        kept = self.running.nonzero()[:, 0]
        self.training, self.held_out = self.training.take(kept), self.held_out.take(kept)
        for name in (
            "weights",
            "rate",
            "shrinkage",
            "mean",
            "square",
            "best",
            "lowest",
            "reached",
            "place",
            "gradient",
        ):
            setattr(self, name, getattr(self, name)[kept])
        self.running = self.running[kept]

    def _record(self, which: torch.Tensor) -> None:
        self.finished.append(tuple(one[which] for one in (self.place, self.best, self.lowest, self.reached)))

    def results(self) -> list[Fitted]:
        self._record(torch.ones_like(self.running))
        place, best, lowest, reached = (torch.cat(parts).cpu().numpy() for parts in zip(*self.finished, strict=True))
        order = np.argsort(place)
        return [
            Fitted(_unpacked(best[at], network, self.shape), float(lowest[at]), int(reached[at]))
            for at, network in zip(order, self.networks, strict=True)
        ]


def _flat(weights: Weights, shape: _Shape) -> np.ndarray:
    columns, units = weights.hidden.shape
    inner, outer = np.zeros(shape.inner), np.zeros(shape.outer)
    inner[:units, :columns], inner[:units, -1] = weights.hidden.T, weights.bias
    inner[-1, :columns] = weights.skip[:, 0]
    outer[: len(weights.intercept), :units], outer[: len(weights.intercept), -1] = weights.output.T, weights.intercept
    return _wide(np.concatenate((inner.ravel(), outer.ravel())), shape.weights)


def _decayed(shape: _Shape) -> np.ndarray:
    """1 for weights that decay, 0 for biases and intercepts."""
    inner, outer = np.ones(shape.inner), np.ones(shape.outer)
    inner[:, -1], outer[:, -1] = 0.0, 0.0
    return _wide(np.concatenate((inner.ravel(), outer.ravel())), shape.weights)


def _identified(shape: _Shape) -> np.ndarray:
    """0 for the skip's constant, which would repeat the intercept, and for Cox's intercept, which cancels."""
    inner, outer = np.ones(shape.inner), np.ones(shape.outer)
    inner[-1, -1] = 0.0
    outer[:, -1] = 0.0 if shape.loss == "cox" else 1.0
    return _wide(np.concatenate((inner.ravel(), outer.ravel())), shape.weights)


def _unpacked(flat: np.ndarray, network: Network, shape: _Shape) -> Weights:
    end = shape.inner[0] * shape.inner[1]
    inner = flat[:end].reshape(shape.inner).astype(np.float64)
    outer = flat[end : end + shape.outer[0] * shape.outer[1]].reshape(shape.outer).astype(np.float64)
    columns, units, outputs = network.columns, network.units, network.outputs
    return Weights(
        hidden=inner[:units, :columns].T.copy(),
        bias=inner[:units, -1].copy(),
        output=outer[:outputs, :units].T.copy(),
        skip=inner[-1, :columns][:, None].copy(),
        intercept=outer[:outputs, -1].copy(),
    )
