"""Who may sign, in which order, under which policy; and how far a new model may differ from the approved one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.gates.checks import REGISTER
from clinical_assets.gates.facts import (
    CHANGE,
    AuditState,
    Baseline,
    BundleState,
    PolicyLock,
    ReleaseFacts,
    Reproduction,
)
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.regulatory import gate as regulatory
from clinical_assets.gates.regulatory.control_maps import AI_ACT, GMLP, evidence_for
from clinical_assets.gates.regulatory.declarations import ChangePlan, DeclaredUse, Estimand, TrialDesign
from clinical_assets.gates.regulatory.policy_lock import policy_fault
from clinical_assets.gates.regulatory.reporting_items import CHAI, TRIPOD_AI
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import NOW, POLICY, found, release
from .test_regulatory import approval

DAY = 86_400.0
FIRST_VERDICT = utc_iso(NOW - 2 * DAY)


def judged(facts: ReleaseFacts, id: str, policy: GatePolicy = POLICY) -> CheckResult:
    return found(regulatory.judge(facts, policy), id)


def approved(**changes: Any) -> ReleaseFacts:
    signed = replace(approval(), **{"authentication": "key and passphrase", **changes})
    return replace(release("colon"), approvals=(signed,), first_verdict_utc=FIRST_VERDICT)


class TestManifestation:
    def test_name_role_moment_and_meaning_are_shown(self):
        result = judged(approved(), "RG7")
        assert result.verdict is Verdict.PASS
        assert all(text in result.reason for text in ("Ada Lovelace", "medical lead", utc_iso(NOW - DAY), "approval"))

    @pytest.mark.parametrize("change", [{"name": " "}, {"role": ""}, {"meaning": "seen"}, {"issued_utc": "yesterday"}])
    def test_what_is_not_said_blocks(self, change):
        facts = approved(**change)
        assert judged(facts, "RG7").verdict is Verdict.BLOCK


class TestSequenceAndAuthority:
    def test_in_order_passes(self):
        assert judged(approved(), "RG9").verdict is Verdict.PASS

    @pytest.mark.parametrize(
        ("change", "named"),
        [({"issued_utc": utc_iso(NOW - 3 * DAY)}, "before the gates"), ({"name": "platform"}, "author")],
    )
    def test_a_signature_out_of_order_or_by_the_author_blocks(self, change, named):
        result = judged(approved(**change), "RG9")
        assert result.verdict is Verdict.BLOCK
        assert named in result.reason

    def test_a_role_without_authority_blocks(self):
        policy = GatePolicy.with_overrides({"regulatory": {"approver_roles": ["oncologist"]}})
        facts = replace(approved(), policy_lock=PolicyLock(policy.digest, policy.content, FIRST_VERDICT))
        assert "may not approve" in judged(facts, "RG9", policy).reason

    def test_a_key_alone_warns_or_blocks_as_the_policy_says(self):
        assert judged(approved(authentication="key"), "RG9").verdict is Verdict.WARN
        strict = GatePolicy.with_overrides({"regulatory": {"reauthentication": True}})
        facts = replace(approved(authentication="key"), policy_lock=PolicyLock(strict.digest, strict.content, "x"))
        assert judged(facts, "RG9", strict).verdict is Verdict.BLOCK

    def test_without_an_opening_on_record_nothing_can_be_told(self):
        assert judged(replace(release("colon"), policy_lock=None), "RG9").verdict is Verdict.INCONCLUSIVE

    def test_a_policy_that_moved_after_the_opening_blocks(self):
        laxer = GatePolicy.with_overrides({"performance": {"ici_max": 0.5}})
        result = judged(release("colon"), "RG9", laxer)
        assert result.verdict is Verdict.BLOCK
        assert "policy.performance.ici_max" in result.reason

    def test_an_amended_policy_is_named(self):
        lock = PolicyLock(POLICY.digest, POLICY.content, FIRST_VERDICT, "Ada Lovelace", "a unit was wrong")
        result = judged(replace(release("colon"), policy_lock=lock), "RG9")
        assert (result.verdict, "Ada Lovelace" in result.reason) == (Verdict.WARN, True)


class TestPolicyLock:
    @staticmethod
    def lock(change: Callable[[dict[str, Any]], object]) -> PolicyLock:
        content = json.loads(json.dumps(POLICY.content))
        change(content)
        return PolicyLock(sha256_json(content), content, FIRST_VERDICT)

    def test_a_threshold_or_check_that_came_later_is_no_change(self):
        assert policy_fault(self.lock(lambda c: c["policy"]["performance"].pop("ici_max")), POLICY) == ""
        assert policy_fault(self.lock(lambda c: c["required"]["bias"].pop()), POLICY) == ""

    def test_a_value_that_changed_or_a_check_no_longer_required_is(self):
        assert "ici_max" in (
            policy_fault(self.lock(lambda c: c["policy"]["performance"].update(ici_max=0.9)), POLICY) or ""
        )
        assert "XX1" in (policy_fault(self.lock(lambda c: c["required"]["bias"].append("XX1")), POLICY) or "")

    def test_content_under_a_foreign_digest_is_a_fault_and_a_digest_alone_cannot_tell(self):
        assert policy_fault(PolicyLock("0" * 64, POLICY.content, "t"), POLICY)
        assert policy_fault(PolicyLock("0" * 64, None, "t"), POLICY) is None


def baseline(**changes: Any) -> Baseline:
    facts = release("colon")
    assert facts.declared is not None
    card = json.loads((facts.model_dir / "model.json").read_text())
    lineage = {**facts.lineage, "intended_use_digest": facts.declared.context_of_use.digest}
    parts = {"card": card, "manifest": dict(facts.manifest), "lineage": lineage}
    for name, value in changes.items():
        part, _, key = name.partition("__")
        parts[part] = {**parts[part], key: value}
    return Baseline("b" * 64, "Ada Lovelace", FIRST_VERDICT, **parts)


class TestChangePlan:
    def test_the_same_kind_of_model_on_the_same_data_is_inside(self):
        result = judged(replace(release("colon"), baseline=baseline()), "RG14")
        assert (result.verdict, result.value) == (Verdict.PASS, 0.0)

    def test_the_first_model_has_nothing_to_compare_with(self):
        assert "does not apply" in judged(release("colon"), "RG14").reason

    @pytest.mark.parametrize(
        ("change", "item"),
        [
            ({"lineage__intended_use_digest": "0" * 64}, "intended use"),
            ({"card__horizon": 365.25}, "horizon"),
            ({"card__endpoint": "relapse"}, "endpoint"),
            ({"card__decision_threshold": 0.2}, "decision threshold"),
            ({"manifest__source": "elsewhere"}, "data source"),
            ({"manifest__rows": 10_000}, "rows of data"),
            ({"card__features": [{"name": "sex"}]}, "added features"),
        ],
    )
    def test_each_point_outside_blocks_by_name_unless_a_person_signed_the_change(self, change, item):
        facts = replace(release("colon"), baseline=baseline(**change))
        result = judged(facts, "RG14")
        assert result.verdict is Verdict.BLOCK
        assert item in result.reason
        for rollout, verdict in ((CHANGE, Verdict.WARN), ("colon-0001", Verdict.BLOCK)):
            signed = replace(
                facts, approvals=(replace(approval(), rollout_id=rollout),), first_verdict_utc=FIRST_VERDICT
            )
            assert judged(signed, "RG14").verdict is verdict

    @pytest.mark.parametrize(
        ("plan", "item"),
        [({"families": ("xgboost",)}, "family"), ({"recalibration_slope": (1.5, 2.0)}, "recalibration slope")],
    )
    def test_the_plan_is_data(self, plan, item):
        facts = release("colon")
        assert facts.declared is not None
        declared = facts.declared.model_copy(update={"change_plan": ChangePlan(**plan)})
        result = judged(replace(facts, declared=declared, baseline=baseline()), "RG14")
        assert (result.verdict, item in result.reason) == (Verdict.BLOCK, True)

    def test_a_baseline_without_record_leaves_it_open(self):
        facts = replace(release("colon"), baseline=replace(baseline(), lineage={}))
        assert judged(facts, "RG14").verdict is Verdict.INCONCLUSIVE

    def test_a_data_cut_may_move_forward_only(self):
        facts = release("colon")
        for before, now, verdict in (
            ("2001-01-01", "2002-01-01", Verdict.PASS), ("2002-01-01", "2001-01-01", Verdict.BLOCK),
            ("2002-01-01", None, Verdict.PASS), (None, "2001-01-01", Verdict.INCONCLUSIVE),
        ):  # fmt: skip
            changed = replace(
                facts, manifest={**facts.manifest, "data_cut": now}, baseline=baseline(manifest__data_cut=before)
            )
            assert judged(changed, "RG14").verdict is verdict, (before, now)


class TestDeclaredUse:
    @pytest.mark.parametrize(
        ("influence", "consequence", "tier"),
        [("low", "low", "low"), ("low", "high", "medium"), ("medium", "high", "high"), ("high", "high", "high"),
         ("high", "low", "medium")],
    )  # fmt: skip
    def test_risk_is_influence_times_consequence(self, influence, consequence, tier):
        use = declared().context_of_use.model_copy(update={"model_influence": influence})
        assert DeclaredUse(context_of_use=use, risk_class=consequence).risk_tier == tier

    def test_a_plan_that_names_a_check_that_does_not_exist_blocks(self):
        use = declared().context_of_use
        step = use.credibility[0].model_copy(update={"checks": ("ZZ9",)})
        changed = declared().model_copy(update={"context_of_use": use.model_copy(update={"credibility": (step,)})})
        assert judged(replace(release("colon"), declared=changed), "RG15").verdict is Verdict.BLOCK

    def test_an_unblinding_column_of_a_blinded_trial_blocks(self):
        trial = TrialDesign(blinded=True, unblinding_columns=("rx",))
        facts = replace(release("colon"), declared=declared().model_copy(update={"trial": trial}))
        assert judged(facts, "RG16").verdict is Verdict.BLOCK
        undeclared = declared().model_copy(update={"trial": TrialDesign(blinded=True)})
        assert judged(replace(facts, declared=undeclared), "RG16").verdict is Verdict.INCONCLUSIVE
        other = declared().model_copy(update={"trial": TrialDesign(blinded=True, unblinding_columns=("arm_code",))})
        assert judged(replace(facts, declared=other), "RG16").verdict is Verdict.PASS

    def test_an_estimand_without_intercurrent_events_warns(self):
        open_ = declared().model_copy(update={"trial": TrialDesign(estimand=Estimand())})
        assert judged(replace(release("colon"), declared=open_), "RG17").verdict is Verdict.WARN
        assert judged(release("colon"), "RG17").verdict is Verdict.PASS

    def test_a_card_that_could_not_name_its_source_blocks(self):
        facts = release("colon")
        result = judged(replace(facts, manifest={**facts.manifest, "citation": ""}), "RG13")
        assert (result.verdict, "5 source" in result.reason) == (Verdict.BLOCK, True)

    def test_all_27_items_and_8_sections_are_mapped(self):
        assert [item.name.split()[0] for item in TRIPOD_AI] == [str(number) for number in range(1, 28)]
        assert len(CHAI) == 8


class TestMapsAndCopies:
    def test_every_id_in_a_map_gives_evidence_and_nothing_is_called_compliant(self):
        for controls, id in ((GMLP, "RG18"), (AI_ACT, "RG19")):
            assert all(evidence_for(controls)[control.name] for control in controls if control.checks)
            result = judged(release("colon"), id)
            assert result.verdict is Verdict.PASS
            assert "complian" not in str(result).lower()
        assert len(GMLP) == 10

    @pytest.mark.parametrize(("same", "difference", "verdict"), [
        (True, 0.0, Verdict.PASS), (False, 1e-9, Verdict.WARN), (False, 0.2, Verdict.BLOCK),
    ])  # fmt: skip
    def test_a_repeated_training(self, same, difference, verdict):
        made = Reproduction("t", "ada", same, "a", "a" if same else "b", difference)
        assert judged(replace(release("colon"), reproduction=made), "RG12").verdict is verdict
        assert judged(release("colon"), "RG12").verdict is Verdict.INCONCLUSIVE

    def test_a_bundle_must_verify_and_speak_to_people_and_machines(self):
        facts = replace(release("colon"), first_verdict_utc=FIRST_VERDICT)
        good = BundleState("b" * 64, ("report.html",), ("card.json",))
        assert judged(facts, "RG20").verdict is Verdict.INCONCLUSIVE
        assert judged(replace(facts, bundle=good), "RG20").verdict is Verdict.PASS
        for bad in (replace(good, faults=("card.json was changed",)), replace(good, readable=())):
            assert judged(replace(facts, bundle=bad), "RG20").verdict is Verdict.BLOCK
        short = GatePolicy.with_overrides({"regulatory": {"retention_years": 2}})
        assert judged(replace(facts, bundle=good), "RG20", short).verdict is Verdict.BLOCK

    def test_a_gap_in_the_trail_blocks(self):
        facts = replace(release("colon"), audit=AuditState(True, 9, gaps=("1 sign_waiver of aaaa not in the trail",)))
        assert judged(facts, "RG6").verdict is Verdict.BLOCK

    def test_every_check_of_the_gate_is_there(self):
        regulatory.judge(release("colon"), POLICY)
        assert {id for id in REGISTER if id.startswith("RG")} == {f"RG{number}" for number in range(1, 22)}


def declared() -> DeclaredUse:
    use = release("colon").declared
    assert use is not None
    return use
