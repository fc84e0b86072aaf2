"""Shadow evidence completes a verdict that lacks only non-inferiority, on signed records; it lifts nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.records import RecordStore, Refused
from clinical_assets.audit.statements import Approval, StatementRefused, lasting
from clinical_assets.foundation.database import create_tables
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Scope, Tier, Verdict
from clinical_assets.rollout.authority import REHEARSAL, EvidenceAuthority
from clinical_assets.rollout.controller import Action

from .conftest import CANCER, CHALLENGER, DAY, World

REQUIRED = {
    GateName.DATA_QUALITY: ("DQ1",),
    GateName.PERFORMANCE: ("MP1", "MP9"),
    GateName.BIAS: ("BI2",),
    GateName.REGULATORY: ("RG8", "RG21"),
    GateName.SECURITY: ("SE1",),
}


@pytest.fixture
def records(world: World, tmp_path: Path) -> RecordStore:
    create_tables(world.engine)
    return RecordStore(world.engine, KeyStore(tmp_path / "keys"))


@pytest.fixture
def authority(world: World, records: RecordStore) -> EvidenceAuthority:
    made = EvidenceAuthority(records, world.ledger, "test")
    world.authority = world.router.authority = made
    return made


def judged(records: RecordStore, world: World, **inconclusive: Verdict) -> None:
    reports = [
        GateReport(
            gate=gate,
            verdict=Verdict.PASS,
            checks=tuple(
                CheckResult(id=id, title=id, verdict=inconclusive.get(id, Verdict.PASS), metric="m") for id in ids
            ),
            required=ids,
            started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:00:01+00:00",
            cancer=CANCER,
            model_digest=CHALLENGER,
            policy_digest="policy",
        )
        for gate, ids in REQUIRED.items()
    ]
    records.issue(
        cancer=CANCER,
        model_digest=CHALLENGER,
        data_digests={"snapshot": "s"},
        policy_digest="policy",
        lineage={"commit": "c0ffee"},
        reports=reports,
        tier=Tier.CLINICAL,
        actor="gate_verdict",
        now=world.wall.at,
    )


def shadowed(world: World) -> None:
    world.open()
    world.until("shadow")
    for _ in range(5):
        world.treat(400)
        world.tick()


def test_non_inferiority_proven_in_shadow_stands_in_for_an_inconclusive_mp9(
    world: World, records: RecordStore, authority: EvidenceAuthority
) -> None:
    judged(records, world, MP9=Verdict.INCONCLUSIVE)
    with pytest.raises(Refused, match="traffic is needed"):
        authority.require(CHALLENGER, CANCER, Scope.TRAFFIC, world.wall.at)
    shadowed(world)
    assert world.share() == 5
    assert authority.require(CHALLENGER, CANCER, Scope.TRAFFIC, world.wall.at).scope is Scope.SHADOW


def test_without_the_proof_the_challenger_stays_in_shadow(
    world: World, records: RecordStore, authority: EvidenceAuthority
) -> None:
    judged(records, world, MP9=Verdict.INCONCLUSIVE)
    world.open()
    world.until("shadow")
    world.treat(300)
    assert world.tick().stage == "shadow"
    with pytest.raises(Refused):
        authority.require(CHALLENGER, CANCER, Scope.TRAFFIC, world.wall.at)


@pytest.mark.parametrize("environment", ["local", "test", "production", ""])
def test_a_model_of_simulated_data_gets_no_traffic_where_patients_are_treated(
    world: World, records: RecordStore, environment: str
) -> None:
    judged(records, world, RG21=Verdict.INCONCLUSIVE)
    authority = EvidenceAuthority(records, world.ledger, environment)
    assert authority.require(CHALLENGER, CANCER, Scope.SHADOW, world.wall.at).scope is Scope.SHADOW
    with pytest.raises(Refused, match=r"grants shadow, traffic is needed .*RG21"):
        authority.require(CHALLENGER, CANCER, Scope.TRAFFIC, world.wall.at)


def test_in_a_rehearsal_a_model_of_simulated_data_may_go_all_the_way(world: World, records: RecordStore) -> None:
    judged(records, world, RG21=Verdict.INCONCLUSIVE)
    authority = EvidenceAuthority(records, world.ledger, REHEARSAL)
    assert authority.require(CHALLENGER, CANCER, Scope.TRAFFIC, world.wall.at).scope is Scope.SHADOW


@pytest.mark.parametrize("other", ["DQ1", "MP1", "MP9", "BI2", "RG8"])
def test_a_rehearsal_lifts_no_other_check(world: World, records: RecordStore, other: str) -> None:
    judged(records, world, RG21=Verdict.INCONCLUSIVE, **{other: Verdict.INCONCLUSIVE})
    with pytest.raises(Refused):
        EvidenceAuthority(records, world.ledger, REHEARSAL).require(CHALLENGER, CANCER, Scope.TRAFFIC, world.wall.at)


def test_the_proof_of_non_inferiority_does_not_lead_simulated_data_out_of_shadow(
    world: World, records: RecordStore, authority: EvidenceAuthority
) -> None:
    judged(records, world, MP9=Verdict.INCONCLUSIVE, RG21=Verdict.INCONCLUSIVE)
    shadowed(world)
    assert world.share() == 0
    with pytest.raises(Refused, match="RG21"):
        authority.require(CHALLENGER, CANCER, Scope.TRAFFIC, world.wall.at)


@pytest.mark.parametrize("other", ["DQ1", "MP1", "BI2"])
def test_the_proof_lifts_no_other_check(
    world: World, records: RecordStore, authority: EvidenceAuthority, other: str
) -> None:
    judged(records, world, MP9=Verdict.INCONCLUSIVE, **{other: Verdict.INCONCLUSIVE})
    world.open()
    assert world.tick().decision.rule == "verdict"


def test_a_revoked_model_leaves_the_traffic_within_one_tick(
    world: World, records: RecordStore, authority: EvidenceAuthority
) -> None:
    judged(records, world)
    shadowed(world)
    assert world.share() == 5
    records.revoke(CHALLENGER, "mislabelled training data", "dr_curie", world.wall.at)
    result = world.tick()
    assert (result.decision.action, result.decision.rule, world.share()) == (Action.ROLLBACK, "verdict", 0)
    assert "revoked" in result.decision.reason


def test_only_a_signed_approval_by_another_person_promotes(
    world: World, records: RecordStore, authority: EvidenceAuthority
) -> None:
    judged(records, world)
    shadowed(world)
    for _ in range(4):
        world.treat(500)
        world.clock.at += DAY
        world.tick()
    assert world.tick().stage == "approval"
    rollout = world.ledger.rollout_by_id(world.rollout_id)

    def approve(name: str) -> None:
        statement = Approval(
            cancer=CANCER,
            model_digest=CHALLENGER,
            name=name,
            role="oncologist",
            environment="test",
            rollout_id=rollout.id,
            **lasting(world.wall.at, 1.0),
        )
        records.statements.sign(statement, records.keys.signer(name))

    approve("trainer")
    with pytest.raises(StatementRefused, match="author"):
        authority.approver(rollout, world.wall.at)
    assert world.tick().stage == "approval"
    approve("dr_curie")
    assert world.tick().decision.action is Action.PROMOTE
    assert world.rows()[-1].transition.actor == "dr_curie"
    assert world.share() == 100
