"""Gate 4, regulatory: who signed, as what, in which order, and for which model."""

from __future__ import annotations

from typing import Any

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import ReleaseFacts, VerifiedApproval, utc_seconds
from clinical_assets.gates.regulatory.policy import RegulatoryPolicy
from clinical_assets.gates.regulatory.policy_lock import policy_fault
from clinical_assets.gates.verdict import GateName, Verdict

GATE = GateName.REGULATORY
CLOCK_SKEW = 300.0
"""Seconds by which another machine's clock may run ahead when it issues a statement."""
MEANINGS = ("review", "approval", "responsibility", "authorship")
"""What a signature can mean (21 CFR 11.50(a)(3))."""


@check(GATE, "RG7", "Signatures say who, when and why", "signatures that do not")
def signature_manifestation(case: Case) -> Finding:
    """Printed name, moment with offset, and meaning, readable by a person, for every approval and waiver on file."""
    facts = case.facts
    shown = [manifestation(approval) for approval in facts.approvals]
    shown += [f"{waiver.signer}, until {waiver.expires_utc}: accepts {waiver.check_id} because {waiver.reason}"
              for waiver in facts.waivers]  # fmt: skip
    faults = [f"{approval.name or 'unnamed'}: {fault}" for approval in facts.approvals for fault in _unsaid(approval)]
    faults += [f"waiver of {waiver.check_id}: {fault}" for waiver in facts.waivers
               for fault in (["no signer's name"] * (not waiver.signer.strip())
                             + ["no reason"] * (not waiver.reason.strip()))]  # fmt: skip
    common: dict[str, Any] = {
        "n": len(shown),
        "threshold": "printed name, date and time, meaning, in each",
        "threshold_source": "21 CFR 11.50",
        "details": {"signatures": shown, "faults": faults},
    }
    if not shown:
        return Finding(Verdict.PASS, "does not apply: no person has signed for this model yet", **common)
    common["value"] = float(len(faults))
    if faults:
        return Finding(Verdict.BLOCK, "; ".join(faults), "revoke the statement and sign anew", **common)
    return Finding(Verdict.PASS, "; ".join(shown), **common)


def manifestation(approval: VerifiedApproval) -> str:
    """The signature as a person reads it."""
    return f"{approval.name} ({approval.role}), {approval.issued_utc}: {approval.meaning} for {approval.environment}"


def _unsaid(approval: VerifiedApproval) -> list[str]:
    try:
        utc_seconds(approval.issued_utc)
        moment = True
    except ValueError:
        moment = False
    said = {
        "no printed name": any(letter.isalpha() for letter in approval.name),
        "no role": bool(approval.role.strip()),
        "no date and time with offset": moment,
        f"its meaning is none of {', '.join(MEANINGS)}": approval.meaning in MEANINGS,
    }
    return [fault for fault, present in said.items() if not present]


@check(GATE, "RG8", "Signatures belong to this model", "signatures that do not")
def signature_linking(case: Case) -> Finding:
    """Every signature verifies and names this digest, the model's own among them. A copied one names another model."""
    facts = case.facts
    broken = [f"{entry.kind} by {entry.signer}: {entry.problem or 'does not verify'}" for entry in facts.signatures
              if not entry.verified]  # fmt: skip
    foreign = [f"{entry.kind} by {entry.signer} covers another model" for entry in facts.signatures
               if entry.verified and entry.model_digest != facts.model_digest]  # fmt: skip
    common: dict[str, Any] = {
        "value": float(len(broken) + len(foreign)),
        "n": len(facts.signatures),
        "threshold": "0; at least the model's own signature present",
        "threshold_source": "21 CFR 11.70: signatures linked to their records",
        "details": {"broken": broken, "foreign": foreign},
    }
    if broken or foreign:
        return Finding(Verdict.BLOCK, "; ".join(broken + foreign), "sign this model anew", **common)
    if not any(entry.kind == "model" for entry in facts.signatures):
        return Finding(Verdict.BLOCK, "no signature over the model", "sign the model directory", **common)
    return Finding(Verdict.PASS, f"{len(facts.signatures)} signatures, all over this digest", **common)


@check(GATE, "RG10", "Approvals are valid", "approvals that are not")
def approval_validity(case: Case) -> Finding:
    """Approvals are needed for the last step only; those that are there must hold for this model, here and now."""
    facts, policy = case.facts, case.policy.regulatory
    faults = [
        f"{approval.name}: {fault}"
        for approval in facts.approvals
        for fault in _approval_faults(approval, facts, policy)
    ]
    common: dict[str, Any] = {
        "value": float(len(faults)),
        "n": len(facts.approvals),
        "threshold": f"0; at most {policy.approval_days:g} days, environment {policy.environment}, not by the author",
        "threshold_source": f"21 CFR 11.10(g), 11.50; {RegulatoryPolicy.source('approval_days')}",
        "details": {"faults": faults},
    }
    if faults:
        return Finding(Verdict.BLOCK, "; ".join(faults), "ask for a new approval of this model", **common)
    if not facts.approvals:
        return Finding(Verdict.WARN, "no approval yet; the last step of a rollout will need one", "", **common)
    return Finding(Verdict.PASS, f"approved by {', '.join(approval.name for approval in facts.approvals)}", **common)


def _approval_faults(approval: VerifiedApproval, facts: ReleaseFacts, policy: RegulatoryPolicy) -> list[str]:
    issued, expires = utc_seconds(approval.issued_utc), utc_seconds(approval.expires_utc)
    faults = {
        "is about another model": approval.model_digest != facts.model_digest,
        "is about another cancer type": approval.cancer != facts.cancer,
        f"is for environment {approval.environment}": approval.environment != policy.environment,
        "has expired": facts.now >= expires,
        f"is valid for more than {policy.approval_days:g} days": expires - issued
        > policy.approval_days * SECONDS_PER_DAY,
        "is issued in the future": issued > facts.now + CLOCK_SKEW,
        "comes from the author of the model": approval.name == facts.author,
    }
    return [what for what, fault in faults.items() if fault]


@check(GATE, "RG9", "Steps in order, by people with authority", "steps out of order or without authority")
def sequence_and_authority(case: Case) -> Finding:
    """The policy before the test split, the gates before the approval; an approver in an accepted role, not the author.

    A policy that only grew since (checks and thresholds of a newer platform) is the one that was fixed.
    """
    facts, policy = case.facts, case.policy.regulatory
    lock = facts.policy_lock
    faults = [f"{approval.name}: {fault}" for approval in facts.approvals
              for fault in _authority_faults(approval, facts, policy)]  # fmt: skip
    weak = [approval.name for approval in facts.approvals if approval.authentication == "key"]
    if weak and policy.reauthentication:
        faults += [f"{name}: signed without a second component (passphrase)" for name in weak]
    common: dict[str, Any] = {
        "n": len(facts.approvals) + 1,
        "threshold": "0; policy fixed before the test split is opened, verdict before approval, "
        f"roles {', '.join(policy.approver_roles) or 'any'}",
        "threshold_source": "21 CFR 11.10(f) and (g), 11.200; pre-specification",
        "details": {"faults": faults, "one_component": weak, "locked": lock and lock.locked_utc},
    }
    if lock is None:
        reason = "no opening of the test split is on record, so the policy before it is unknown"
        return Finding(Verdict.INCONCLUSIVE, reason, "train again: the opening is recorded then", **common)
    moved = policy_fault(lock, case.policy)
    if moved:
        faults.append(f"the policy of {lock.locked_utc} was {moved}")
    common["value"] = float(len(faults))
    amend = f"restore the policy, or let a person amend it with reason: `clinical amend-policy {facts.cancer}`"
    if faults:
        return Finding(Verdict.BLOCK, "; ".join(faults), amend if moved else "ask for a new approval", **common)
    if moved is None:
        reason = f"only the digest of the policy of {lock.locked_utc} is on record; whether it moved cannot be told"
        return Finding(Verdict.INCONCLUSIVE, reason, amend, **common)
    if lock.amended_by:
        reason = f"{lock.amended_by} amended the policy after the test split was opened: {lock.reason}"
        return Finding(Verdict.WARN, reason, "the next model is judged by the new policy alone", **common)
    if weak:
        reason = f"signed with a key alone, without passphrase: {', '.join(weak)}"
        return Finding(Verdict.WARN, reason, "`clinical keys new NAME --passphrase`", **common)
    return Finding(Verdict.PASS, f"policy fixed on {lock.locked_utc}, before the test split was opened", **common)


def _authority_faults(approval: VerifiedApproval, facts: ReleaseFacts, policy: RegulatoryPolicy) -> list[str]:
    issued, verdict = utc_seconds(approval.issued_utc), facts.first_verdict_utc
    accepted = {role.casefold() for role in policy.approver_roles}
    faults = {
        "signed before the gates had judged the model": verdict is None or issued < utc_seconds(verdict) - CLOCK_SKEW,
        f"the role {approval.role} may not approve": bool(accepted) and approval.role.casefold() not in accepted,
        "the author cannot approve the own model": approval.name == facts.author,
    }
    return [what for what, fault in faults.items() if fault]
