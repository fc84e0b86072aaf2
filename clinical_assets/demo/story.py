"""The four chapters: a first champion, a better challenger, a leaking one, and one that degrades in traffic."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical_assets.backfill_worker import why
from clinical_assets.demo.configuration import CANCER, Catalogues, another_seed, leak
from clinical_assets.demo.patients import ReplayedPatients
from clinical_assets.demo.screen import Screen
from clinical_assets.demo.state import make_room
from clinical_assets.foundation.clock import SECONDS_PER_DAY, ReplayClock
from clinical_assets.foundation.files import write_atomic
from clinical_assets.foundation.home import Home, StateDirectoryError
from clinical_assets.instance import QUIET, open_instance

if TYPE_CHECKING:
    import dagster as dg

    from clinical_assets.catalog import CancerType
    from clinical_assets.rollout.entries import StoredTransition

EARLY_CUT = "1991-01-01"
CLINICAL_START = datetime(1994, 1, 1, tzinfo=UTC).timestamp()
HORIZON_SECONDS = 12.0
"""Real seconds in which the endpoint's horizon passes on the replay clock."""

APPROVER = "dr-demo"
TICK_S = 0.5
PATIENCE_S = 120.0


class StoryBroken(RuntimeError):
    """Something did not happen that should have; the message says what was seen instead."""


def run(home: Home, json_path: Path | None) -> int:
    """Tell the story; 0 only if all four chapters went as they should.

    Raises:
        StateDirectoryError: another demo runs in this directory, or it holds what no demo made.
    """
    from clinical_assets.serving.locking import LockBusy, locked

    try:
        with locked(home.root / "demo.lock", timeout=0.0):
            return _tell(home, json_path)
    except LockBusy as busy:
        raise StateDirectoryError(
            f"another demo (process {busy.holder}) runs in {home.root}; wait for it, or set CLINICAL_HOME"
        ) from busy


def _tell(home: Home, json_path: Path | None) -> int:
    screen = Screen()
    earlier = make_room(home)
    if earlier is not None:
        screen.say(f"rollouts of an earlier demo were put aside in {earlier}; trained models are used again")
    figures: dict[str, Any] = {}
    rows: list[tuple[str, bool, str]] = []
    story = Story(home, screen)
    try:
        for title, chapter in story.chapters():
            screen.chapter(title)
            started = time.monotonic()
            try:
                found = chapter()
            except StoryBroken as broken:
                screen.say(f"[red]{broken}[/red]")
                rows.append((title, False, str(broken)))
                figures[chapter.__name__] = {"ok": False, "problem": str(broken)}
                break
            found["seconds"] = round(time.monotonic() - started, 1)
            rows.append((title, True, ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.items())))
            figures[chapter.__name__] = {"ok": True, **found}
    finally:
        story.close()
    ok = len(rows) == 4 and all(row[1] for row in rows)
    screen.summary(rows)
    figures |= {"ok": ok, "total_seconds": round(time.monotonic() - screen.started, 1)}
    screen.say("[green]all four happened[/green]" if ok else "[red]the story did not go as it should[/red]")
    screen.say("see the same runs in the Dagster UI: [bold]make dev[/bold]")
    if json_path is not None:
        write_atomic(json_path.absolute(), json.dumps(figures, indent=1).encode())
    return 0 if ok else 1


class Story:
    """Holds what the chapters share: the instance, the definitions, the clock, the data plane."""

    def __init__(self, home: Home, screen: Screen) -> None:
        from clinical_assets.serving.control import ensure_running

        self.home, self.screen = home, screen
        self.catalogues = Catalogues(home.root / "demo")
        self.catalogues.use("later")
        self.instance = open_instance(home)
        with screen.working("loading the code location and starting Envoy and two model servers"):
            from clinical_assets.definitions import build_defs, default_resources

            self.defs = build_defs()
            self.resources = default_resources()
            self.ports = ensure_running(home)
        horizon = (self.cancer().contract.endpoint.horizon_days or 0.0) * SECONDS_PER_DAY
        self.clock = ReplayClock(time.time(), CLINICAL_START, horizon / HORIZON_SECONDS)
        self.clock.save(home.clock)
        self.ledger = self.resources["ledger_store"].ledger()
        screen.say(
            f"data plane ready: gateway on port {self.ports.gateway}; replay clock: {HORIZON_SECONDS:g} s are the "
            f"{horizon / SECONDS_PER_DAY / 365.25:.0f}-year horizon; held-out patients are replayed with resampling"
        )

    def chapters(self) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
        return [
            (f"1  A first champion: {CANCER}, data cut {EARLY_CUT}", self.first_champion),
            ("2  The later data cut of the same trial: shadow, ramp, approval, promotion", self.promoted_challenger),
            ("3  A challenger trained on leaked data: stopped at the gates", self.stopped_at_the_gates),
            ("4  A challenger that degrades in traffic: rolled back", self.rolled_back_in_traffic),
        ]

    def close(self) -> None:
        from clinical_assets.serving.control import stop

        stop(self.home)
        self.home.clock.unlink(missing_ok=True)
        self.instance.dispose()

    def cancer(self) -> CancerType:
        from clinical_assets.catalog import load_catalog

        return load_catalog()[CANCER]

    # chapters

    def first_champion(self) -> dict[str, Any]:
        model = self._materialize(data_cut=EARLY_CUT)
        rollout = self._open_rollout(model)
        self._follow(rollout, {"approval"})
        self._approve(rollout)
        self._follow(rollout, {"done"})
        return {"model": model[:12], "rollout": rollout}

    def promoted_challenger(self) -> dict[str, Any]:
        model = self._materialize()
        rollout = self._open_rollout(model)
        with self._patients(seed=1) as patients:
            self._follow(rollout, {"approval"}, patients)
            self._approve(rollout)
            self._follow(rollout, {"done"}, patients)
            counts = asdict(patients.counts)
        shadow = next(row for row in self.ledger.transitions(rollout) if row.transition.stage == "5")
        paired = {key: shadow.transition.n[key] for key in shadow.transition.n if "pair" in key or "shadow" in key}
        if counts["failed"]:
            raise StoryBroken(
                f"{counts['failed']} of {counts['sent'] + counts['failed']} requests failed in a healthy rollout"
            )
        return {"model": model[:12], "rollout": rollout, **counts, **paired}

    def stopped_at_the_gates(self) -> dict[str, Any]:
        before = self.resources["traffic_router"].router().read(CANCER)
        self.catalogues.use("leaked", leak)
        result = self._run()
        if result.success:
            raise StoryBroken("a model that reads the future passed the gates")
        failed = [
            (evaluation.check_name, evaluation.description or "")
            for evaluation in result.get_asset_check_evaluations()
            if not evaluation.passed and evaluation.check_name == "grants_a_scope"
        ]
        if not failed:
            raise StoryBroken(f"the run ended before the gates could judge the leaking model: {why(result)}")
        self.screen.say(f"refused: {failed[0][1]}")
        refused = self._run(selection="deployed_variant")
        if refused.success:
            raise StoryBroken("deployed_variant alone accepted the refused model")
        self.screen.say("asked for deployed_variant alone: refused as well")
        if self.resources["traffic_router"].router().read(CANCER) != before:
            raise StoryBroken("the route changed")
        return {"stopped_by": failed[0][1].split(":")[0], "route": "unchanged"}

    def rolled_back_in_traffic(self) -> dict[str, Any]:
        self.catalogues.use("reseeded", another_seed)
        model = self._materialize()
        rollout = self._open_rollout(model)
        with self._patients(seed=2) as patients:
            self._follow(rollout, {"5"}, patients)
            time.sleep(2.0)
            self.screen.say(
                "[bold]fault:[/bold] the challenger's server is killed again and again, as when it runs out of memory"
            )
            with self._crash_loop(model):
                last = self._follow(rollout, {"rolled_back"}, patients)
            counts = asdict(patients.counts)
        measured = last.transition.statistics.get("rollback", {})
        seconds = measured.get("seconds_to_share_zero")
        if seconds is None:
            raise StoryBroken("the rollback was not measured")
        return {
            "model": model[:12],
            "rollout": rollout,
            "rule": last.transition.rule,
            "seconds_from_first_bad_sample_to_share_0": round(seconds, 2),
            **counts,
        }

    # steps

    def _run(self, data_cut: str = "", selection: str | None = None) -> dg.ExecuteInProcessResult:
        import dagster as dg

        job = self.defs.resolve_job_def("trial_to_route")
        return job.execute_in_process(
            run_config=QUIET | ({} if selection else {"ops": {"raw_trial_data": {"config": {"data_cut": data_cut}}}}),
            instance=self.instance,
            partition_key=CANCER,
            asset_selection=[dg.AssetKey(selection)] if selection else None,
            raise_on_error=False,
            tags={"clinical/demo": "true"},
        )

    def _materialize(self, data_cut: str = "") -> str:
        """Raw data to an open rollout; the digest of the model."""
        with self.screen.working(f"trial data -> features -> model -> five gates ({data_cut or 'all follow-up'})"):
            result = self._run(data_cut)
        if not result.success:
            raise StoryBroken(why(result))
        shown = {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }
        raw, model, verdict = shown["raw_trial_data"], shown["trained_model"], shown["gate_verdict"]
        self.screen.say(
            f"{_value(raw, 'rows')} patients, {_value(raw, 'events')} events, {_value(raw, 'data_status')} data"
        )
        if "family" in model:
            self.screen.say(
                f"model: {_value(model, 'family')} ({_value(model, 'chosen_because')}); on untouched patients "
                f"Uno's C {_value(model, 'test_uno_c')}, observed/expected {_value(model, 'test_observed_expected')}"
            )
        else:
            self.screen.say("model: unchanged inputs, the trained model is used again")
        gates = ("data_quality", "performance", "bias", "regulatory", "security")
        said = ", ".join(f"{gate.replace('_', ' ')} {_value(verdict, gate)}" for gate in gates)
        self.screen.say(f"gates: {said} -> scope [bold]{_value(verdict, 'scope')}[/bold]")
        return str(_value(verdict, "model_digest"))

    def _open_rollout(self, model: str) -> str:
        rollout = self.ledger.rollout(CANCER)
        if rollout is None or rollout.challenger != model:
            raise StoryBroken(f"no rollout was opened for model {model[:12]}")
        return rollout.id

    def _follow(self, rollout: str, until: set[str], patients: ReplayedPatients | None = None) -> StoredTransition:
        """Evaluate the rollout sensor until the rollout reaches a stage in `until`; show each change."""
        deadline = time.monotonic() + PATIENCE_S
        shown = len(self.ledger.transitions(rollout))
        while True:
            self._tick()
            history = self.ledger.transitions(rollout)
            for row in history[shown:]:
                decided = row.transition
                self.screen.say(f"{decided.action} -> {decided.stage}, challenger {decided.weight} %: {decided.reason}")
            shown = len(history)
            progress = self.ledger.progress(rollout)
            if progress.stage in until:
                return history[-1]
            if not progress.is_open:
                raise StoryBroken(f"the rollout ended in {progress.stage}: {history[-1].transition.reason}")
            if time.monotonic() > deadline:
                last = history[-1].transition.reason if history else "no decision yet"
                raise StoryBroken(f"the rollout stayed in {progress.stage} for {PATIENCE_S:g} s: {last}")
            if patients is not None:
                patients.check()
            time.sleep(TICK_S)

    def _tick(self) -> None:
        """The very sensor that runs under `dagster dev`; its events are put where the daemon would put them."""
        import dagster as dg

        from sensors.rollout import rollout_sensor

        with dg.build_sensor_context(instance=self.instance, resources=self.resources) as context:
            for event in rollout_sensor.evaluate_tick(context).asset_events:
                self.instance.report_runless_asset_event(event)

    def _approve(self, rollout: str) -> None:
        from clinical_assets.approvals import approve

        signed = approve(
            self.resources["ledger_store"], self.resources["traffic_router"], CANCER, APPROVER, "oncologist"
        )
        self.screen.say(f"{APPROVER} (oncologist) signs an approval of rollout {rollout}: {signed.digest[:12]}")

    def _patients(self, seed: int) -> ReplayedPatients:
        from clinical_assets.references import ModelReference
        from clinical_assets.serving.pseudonym import Pseudonymiser
        from clinical_assets.training_data import open_training_data

        store = self.resources["object_store"]
        model = self.resources["io_manager"].find("trained_model", CANCER, ModelReference)
        cancer = self.cancer()
        data = open_training_data(cancer, model.features, store)
        pseudonym = Pseudonymiser(self.home.keys)
        return ReplayedPatients(CANCER, cancer.contract, data.test, pseudonym, self.ports.gateway, self.clock, seed)

    @contextmanager
    def _crash_loop(self, model: str) -> Iterator[None]:
        slot = self.resources["serving_backend"].desired_state().slot_of(CANCER, model)
        stop = threading.Event()

        def kill() -> None:
            while not stop.wait(0.3):
                record = json.loads((self.home.dataplane / "processes.json").read_text()).get(slot) or {}
                if record.get("pid"):
                    try:
                        os.kill(record["pid"], signal.SIGKILL)
                    except ProcessLookupError:
                        continue

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _value(metadata: Any, key: str) -> Any:
    return getattr(metadata.get(key), "value", "?")
