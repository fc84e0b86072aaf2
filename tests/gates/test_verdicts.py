from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.gates.facts import VerifiedWaiver
from clinical_assets.gates.policy import REQUIRED
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Scope, Tier, Verdict
from clinical_assets.gates.verdicts import NON_INFERIORITY, SAMPLE_SIZE, SIMULATED, gate_verdict, limits, scope

NOW = 1_800_000_000.0
LATER, EARLIER = "2027-06-01T00:00:00+00:00", "2026-06-01T00:00:00+00:00"
WAIVER = VerifiedWaiver("MP5", "colon", "d1", LATER, "Ada Lovelace", "small cohort")

verdicts = st.sampled_from(list(Verdict))
tiers = st.sampled_from(list(Tier))


def result(id: str, verdict: Verdict = Verdict.PASS) -> CheckResult:
    return CheckResult(id=id, title=id, verdict=verdict, metric="m")


def report(gate: GateName, changed: dict[str, Verdict], digest: str = "d1", cancer: str = "colon") -> GateReport:
    checks = tuple(result(id, changed.get(id, Verdict.PASS)) for id in REQUIRED[gate])
    return GateReport(
        gate=gate, verdict=gate_verdict(checks, REQUIRED[gate]), checks=checks, required=REQUIRED[gate],
        started="", finished="", cancer=cancer, model_digest=digest,
    )  # fmt: skip


def reports(**changed: Verdict) -> dict[GateName, GateReport]:
    return {gate: report(gate, changed) for gate in GateName}


def without(gate: GateName, id: str) -> dict[GateName, GateReport]:
    kept = tuple(check for check in reports()[gate].checks if check.id != id)
    return reports() | {gate: reports()[gate].model_copy(update={"checks": kept})}


required_ids = st.sampled_from([(gate, id) for gate in GateName for id in REQUIRED[gate]])
waivable = st.sampled_from(
    [id for gate in GateName for id in REQUIRED[gate] if id not in SAMPLE_SIZE | NON_INFERIORITY | SIMULATED]
)


def test_all_five_passed_grants_traffic():
    assert scope(reports(), Tier.CLINICAL, (), NOW) is Scope.TRAFFIC


def test_zero_checks_block_the_gate_and_grant_nothing():
    assert gate_verdict((), ()) is Verdict.BLOCK
    assert gate_verdict((), ("DQ1",)) is Verdict.BLOCK
    empty = reports()[GateName.BIAS].model_copy(update={"checks": (), "required": ()})
    assert scope(reports() | {GateName.BIAS: empty}, Tier.RESEARCH, (), NOW) is Scope.NONE


def test_no_report_at_all_grants_nothing():
    assert scope({}, Tier.RESEARCH, (), NOW) is Scope.NONE
    assert len(limits({}, Tier.RESEARCH, (), NOW)) == len(GateName)


@given(st.sampled_from(list(GateName)), tiers)
def test_a_missing_gate_grants_nothing(gate, tier):
    kept = {name: found for name, found in reports().items() if name is not gate}
    assert scope(kept, tier, (), NOW) is Scope.NONE


def test_a_report_filed_under_another_gate_does_not_count():
    swapped = reports() | {GateName.SECURITY: reports()[GateName.BIAS]}
    assert scope(swapped, Tier.RESEARCH, (), NOW) is Scope.NONE


@given(required_ids, tiers)
def test_a_required_check_that_did_not_run_blocks(target, tier):
    gate, id = target
    found = without(gate, id)
    assert gate_verdict(found[gate].checks, REQUIRED[gate]) is Verdict.BLOCK
    assert scope(found, tier, (replace(WAIVER, check_id=id),), NOW) is Scope.NONE


@given(
    st.dictionaries(st.sampled_from([id for gate in GateName for id in REQUIRED[gate]]), verdicts),
    tiers,
    st.booleans(),
)
def test_any_block_or_error_grants_nothing_whatever_is_waived(changed, tier, waived):
    waivers = [replace(WAIVER, check_id=id) for id in changed] if waived else []
    granted = scope(reports(**changed), tier, waivers, NOW)
    if set(changed.values()) & {Verdict.BLOCK, Verdict.ERROR}:
        assert granted is Scope.NONE
    elif changed.get("RG21") is Verdict.INCONCLUSIVE:
        assert granted is not Scope.TRAFFIC
    elif Verdict.INCONCLUSIVE not in changed.values() or waived:
        assert granted is Scope.TRAFFIC


@given(st.lists(verdicts, min_size=1, max_size=8), st.data())
def test_gate_verdict_never_improves_when_a_check_gets_worse(found, data):
    order = [Verdict.PASS, Verdict.WARN, Verdict.INCONCLUSIVE, Verdict.BLOCK]
    ids = [f"C{number}" for number in range(len(found))]
    required = data.draw(st.lists(st.sampled_from(ids), unique=True))
    place = data.draw(st.integers(0, len(found) - 1))
    worse = [*found[:place], Verdict.BLOCK, *found[place + 1 :]]
    before = gate_verdict([result(id, verdict) for id, verdict in zip(ids, found, strict=True)], required)
    after = gate_verdict([result(id, verdict) for id, verdict in zip(ids, worse, strict=True)], required)
    assert order.index(after) >= order.index(before)
    assert after is Verdict.BLOCK


@given(tiers)
def test_inconclusive_non_inferiority_grants_shadow_in_the_clinical_tier(tier):
    expected = Scope.SHADOW if tier is Tier.CLINICAL else Scope.TRAFFIC
    assert scope(reports(MP9=Verdict.INCONCLUSIVE), tier, (), NOW) is expected


def test_inconclusive_sample_size_is_tolerated_by_the_research_tier_only():
    thin = reports(**dict.fromkeys(SAMPLE_SIZE, Verdict.INCONCLUSIVE))
    assert scope(thin, Tier.RESEARCH, (), NOW) is Scope.TRAFFIC
    assert scope(thin, Tier.CLINICAL, (), NOW) is Scope.NONE


@given(tiers, st.sampled_from([Scope.SHADOW, Scope.TRAFFIC]))
def test_simulated_data_grant_shadow_at_most_and_no_waiver_widens_it(tier, waived):
    simulated = reports(RG21=Verdict.INCONCLUSIVE)
    assert scope(simulated, tier, (), NOW) is Scope.SHADOW
    assert scope(simulated, tier, (replace(WAIVER, check_id="RG21", scope=waived),), NOW) is Scope.SHADOW
    assert scope(reports(RG21=Verdict.INCONCLUSIVE, MP5=Verdict.INCONCLUSIVE), tier, (), NOW) is Scope.NONE


@given(waivable, tiers)
def test_any_other_inconclusive_check_needs_a_waiver_in_both_tiers(id, tier):
    weak = reports(**{id: Verdict.INCONCLUSIVE})
    waiver = replace(WAIVER, check_id=id)
    assert scope(weak, tier, (), NOW) is Scope.NONE
    assert scope(weak, tier, (replace(waiver, scope=Scope.SHADOW),), NOW) is Scope.SHADOW
    assert scope(weak, tier, (waiver,), NOW) is Scope.TRAFFIC


@given(
    st.sampled_from(
        [
            {"check_id": "MP3"},
            {"cancer": "breast"},
            {"model_digest": "d2"},
            {"model_digest": "d"},
            {"expires_utc": EARLIER},
        ]
    )
)
def test_a_waiver_counts_only_for_this_check_cancer_and_digest_while_unexpired(difference):
    weak = reports(MP5=Verdict.INCONCLUSIVE)
    assert scope(weak, Tier.CLINICAL, (replace(WAIVER, **difference),), NOW) is Scope.NONE


def test_a_waiver_ends_at_its_expiry():
    weak = reports(MP5=Verdict.INCONCLUSIVE)
    moment = "2027-01-15T08:00:00+00:00"
    assert scope(weak, Tier.CLINICAL, (replace(WAIVER, expires_utc=moment),), NOW) is Scope.NONE
    assert scope(weak, Tier.CLINICAL, (replace(WAIVER, expires_utc=moment),), NOW - 1) is Scope.TRAFFIC


def test_a_waiver_never_fits_reports_that_name_no_model():
    weak = {gate: report(gate, {"MP5": Verdict.INCONCLUSIVE}, digest="") for gate in GateName}
    assert scope(weak, Tier.CLINICAL, (replace(WAIVER, model_digest=""),), NOW) is Scope.NONE


def test_reports_about_different_models_grant_nothing():
    mixed = reports() | {GateName.BIAS: report(GateName.BIAS, {}, digest="d2")}
    assert scope(mixed, Tier.CLINICAL, (), NOW) is Scope.NONE
    assert scope(reports() | {GateName.BIAS: report(GateName.BIAS, {}, cancer="breast")}, Tier.CLINICAL, (), NOW) is (
        Scope.NONE
    )


def test_the_verdict_written_in_a_report_is_not_trusted():
    blocked = report(GateName.BIAS, {"BI2": Verdict.BLOCK}).model_copy(update={"verdict": Verdict.PASS})
    assert scope(reports() | {GateName.BIAS: blocked}, Tier.CLINICAL, (), NOW) is Scope.NONE


def test_limits_name_gate_check_and_reason():
    (limit,) = limits(reports(RG11=Verdict.BLOCK), Tier.CLINICAL, (), NOW)
    assert (limit.gate, limit.check_id, limit.scope) == (GateName.REGULATORY, "RG11", Scope.NONE)
    assert "RG11" in limit.reason
