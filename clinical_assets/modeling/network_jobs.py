"""A batch of networks as a folder that any machine with torch and numpy can fit: data in, weights out, code in neither.

    plan.json      what to fit, on which device, by which code; its sha256 names the folder
    inputs.npz     rows, flags, times and breaks; networks that share a sample name the same arrays
    result/        weights.npz and result.json, renamed into place when both are complete
    failure.json   instead, where the fit itself cannot succeed: trying again would fail again

python -m clinical_assets.modeling.network_jobs FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clinical_assets.foundation.canonical import canonical_json, sha256_bytes, sha256_file
from clinical_assets.foundation.files import publish_directory, write_atomic
from clinical_assets.foundation.locks import exclusive
from clinical_assets.modeling import batched_networks
from clinical_assets.modeling.batched_networks import Fitted, Network, Sample, Schedule, Weights, train

FORMAT = 1
PARTS = ("hidden", "bias", "output", "skip", "intercept")
SETTINGS = ("loss", "seed", "units", "learning_rate", "skip_penalty", "unit_penalty")
DONE, UNFITTABLE, NOT_NOW = 0, 65, 75
"""Exit codes; 65 and 75 are EX_DATAERR and EX_TEMPFAIL of sysexits.h."""
PASSING = (OSError, MemoryError, RuntimeError)
"""What another attempt may get past: files, memory, an accelerator. Anything else lies in the plan or its data."""


class DamagedResult(RuntimeError):
    """The result is not the one its own digests describe, or not of these networks."""


def code() -> dict[str, str]:
    """What must agree between the side that asks and the side that fits, or the weights would differ."""
    version = torch.__version__.partition("+")[0]
    return {"networks": sha256_file(Path(batched_networks.__file__)), "torch": version}


def values(networks: Sequence[Network]) -> int:
    """Size of a fit: numbers that one epoch reads, rows times columns over all networks."""
    return sum((len(one.training.flag) + len(one.held_out.flag)) * one.columns for one in networks)


def write_job(directory: Path, networks: Sequence[Network], device: str, schedule: Schedule | None = None) -> Path:
    """The folder of this fit below `directory`; equal fits have equal names, and one that exists is left as it is."""
    arrays: dict[str, np.ndarray] = {}
    samples: dict[int, int] = {}

    def keep(sample: Sample) -> int:
        number = samples.setdefault(id(sample), len(samples))
        arrays[f"rows_{number}"], arrays[f"flag_{number}"] = sample.rows, sample.flag
        if sample.times is not None:
            arrays[f"times_{number}"] = sample.times
        return number

    entries: list[dict[str, Any]] = []
    for number, one in enumerate(networks):
        entry = {name: getattr(one, name) for name in SETTINGS}
        entry |= {"training": keep(one.training), "held_out": keep(one.held_out)}
        if one.breaks is not None:
            arrays[f"breaks_{number}"] = one.breaks
        entries.append(entry)
    directory.mkdir(parents=True, exist_ok=True)
    inputs = directory / f".inputs-{time.monotonic_ns()}.npz"
    try:
        np.savez(inputs, **arrays)  # pyright: ignore[reportArgumentType]
        plan = canonical_json(
            {
                "format": FORMAT,
                "code": code(),
                "device": device,
                "schedule": asdict(schedule or Schedule()),
                "inputs": sha256_file(inputs),
                "networks": entries,
            }
        )

        def fill(aside: Path) -> None:
            (aside / "plan.json").write_bytes(plan)
            shutil.move(inputs, aside / "inputs.npz")

        return publish_directory(directory / sha256_bytes(plan), fill)
    finally:
        inputs.unlink(missing_ok=True)


def fit_job(folder: Path) -> None:
    """Fit what the plan says, unless that is done. Two processes on one folder fit once: the second waits.

    Raises:
        ValueError: the folder is damaged, was written by other code, or holds networks that cannot be trained.
        RuntimeError: no such device here.
    """
    with exclusive(folder / ".lock"):
        if (folder / "result").exists():
            return
        plan = json.loads((folder / "plan.json").read_bytes())
        networks = _read_networks(folder, plan)
        if plan["device"] == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("the plan asks for an NVIDIA GPU and torch finds none here")
        print(f"fitting {len(networks)} networks on {plan['device']}", flush=True)
        started = time.monotonic()
        fitted = train(networks, Schedule(**plan["schedule"]), plan["device"])
        seconds = time.monotonic() - started
        publish_directory(folder / "result", lambda aside: _write_result(aside, folder.name, fitted, seconds))
    print(f"fitted {len(networks)} networks in {seconds:.1f} s", flush=True)


def read_result(folder: Path, networks: Sequence[Network]) -> list[Fitted] | None:
    """The weights of `networks`, verified; None while there is no result.

    Raises:
        DamagedResult: digests or shapes do not agree; the result is removed, so that the next attempt fits again.
    """
    result = folder / "result"
    if not result.exists():
        return None
    try:
        said = json.loads((result / "result.json").read_bytes())
        if said["plan"] != folder.name or said["weights"] != sha256_file(result / "weights.npz"):
            raise ValueError("it does not have the digest that was written beside it")
        with np.load(result / "weights.npz", allow_pickle=False) as stored:
            return [_fitted(stored, number, network) for number, network in enumerate(networks)]
    except (OSError, ValueError, KeyError) as error:
        shutil.rmtree(result, ignore_errors=True)
        raise DamagedResult(f"the result in {result} cannot be used: {error}; it was removed") from error


def read_failure(folder: Path) -> str:
    """Why the fit cannot succeed, "" as long as it may."""
    try:
        return json.loads((folder / "failure.json").read_bytes())["reason"]
    except FileNotFoundError:
        return ""


def _read_networks(folder: Path, plan: dict[str, Any]) -> list[Network]:
    if plan["format"] != FORMAT or sha256_bytes((folder / "plan.json").read_bytes()) != folder.name:
        raise ValueError(f"{folder}/plan.json is not the plan that the folder is named after")
    if plan["code"] != code():
        raise ValueError(f"the plan was written by {plan['code']}, here is {code()}: use one image for both sides")
    if sha256_file(folder / "inputs.npz") != plan["inputs"]:
        raise ValueError(f"{folder}/inputs.npz is not what the plan was written for")
    samples: dict[int, Sample] = {}
    with np.load(folder / "inputs.npz", allow_pickle=False) as stored:

        def sample(number: int) -> Sample:
            if number not in samples:
                times = stored.get(f"times_{number}")
                samples[number] = Sample(stored[f"rows_{number}"], stored[f"flag_{number}"], times)
            return samples[number]

        return [
            Network(
                sample(entry["training"]),
                sample(entry["held_out"]),
                **{name: entry[name] for name in SETTINGS},
                breaks=stored.get(f"breaks_{number}"),
            )
            for number, entry in enumerate(plan["networks"])
        ]


def _write_result(aside: Path, plan: str, fitted: Sequence[Fitted], seconds: float) -> None:
    arrays = {f"{part}_{k}": getattr(one.weights, part) for k, one in enumerate(fitted) for part in PARTS}
    arrays["held_out_loss"] = np.array([one.held_out_loss for one in fitted])
    arrays["epoch"] = np.array([one.epoch for one in fitted])
    np.savez(aside / "weights.npz", **arrays)  # pyright: ignore[reportArgumentType]
    said = {"plan": plan, "weights": sha256_file(aside / "weights.npz"), "seconds": seconds, **code()}
    (aside / "result.json").write_bytes(canonical_json(said))


def _fitted(stored: Any, number: int, network: Network) -> Fitted:
    weights = Weights(*(stored[f"{part}_{number}"] for part in PARTS))
    columns, units, outputs = network.columns, network.units, network.outputs
    expected = ((columns, units), (units,), (units, outputs), (columns, 1), (outputs,))
    found = tuple(getattr(weights, part).shape for part in PARTS)
    if found != expected:
        raise ValueError(f"network {number} has weights of shapes {found}, not {expected}")
    return Fitted(weights, float(stored["held_out_loss"][number]), int(stored["epoch"][number]))


def main(folder: Path) -> int:
    try:
        (folder / "failure.json").unlink(missing_ok=True)  # of an earlier attempt, which may have had another image
        fit_job(folder)
        return DONE
    except PASSING as error:
        print(f"not now: {type(error).__name__}: {error}", flush=True)
        return NOT_NOW
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        print(f"cannot be fitted: {reason}", flush=True)
        write_atomic(folder / "failure.json", canonical_json({"reason": reason}))
        return UNFITTABLE


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m {__spec__.name if __spec__ else __name__} FOLDER")
    sys.exit(main(Path(sys.argv[1])))
