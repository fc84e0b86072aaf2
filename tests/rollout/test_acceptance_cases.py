"""The 35 acceptance cases of a rollout in words, each with the tests that prove it; none may lose its proof unseen."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CASES: dict[str, tuple[str, ...]] = {
    "1 a reweight changes two weights and no other byte": (
        "serving/test_istio_objects::test_case_1_a_reweight_changes_the_two_weights_and_the_header_that_states_them_and_nothing_else",
        "serving/test_istio_objects::test_any_change_keeps_foreign_entries_in_their_bytes_and_order",
        "serving/test_istio_router::test_case_1_a_reweight_travels_as_two_weights_and_the_header_that_states_them",
        "serving/test_route_resources::test_a_route_write_keeps_every_foreign_value_in_its_place",
        "serving/test_router_contract::test_case_1_foreign_routes_survive_every_change_of_ours",
    ),
    "2 weights are whole per cents that add up to 100, for any input": (
        "serving/test_istio_router::test_case_2_weights_are_whole_per_cents_for_any_input",
        "serving/test_istio_objects::test_case_2_other_weights_are_refused_before_they_are_written",
        "rollout/test_policy_and_routes::test_weights_always_sum_to_one_hundred",
    ),
    "3 a third destination in our route: refused to start, and named": (
        "serving/test_router_contract::test_case_3_a_third_destination_is_named_and_only_the_way_back_replaces_it",
        "rollout/test_tick::test_a_foreign_model_in_our_route_stops_the_rollout_from_starting",
    ),
    "4 after one write a candidate header or an old assignment reaches the champion": (
        "serving/test_router_contract::test_case_4_after_one_write_neither_header_nor_old_assignment_reaches_the_challenger",
        "serving/test_istio_router::test_case_4_a_rollback_is_one_write_that_removes_header_mirror_sticky_split_and_weight",
    ),
    "5 nothing relies on weight 0 of a lone destination": (
        "serving/test_router_contract::test_case_5_everybody_at_weight_100_and_nobody_at_0",
        "serving/test_istio_router::test_case_5_a_lone_destination_carries_no_weight_and_is_out_of_reach_of_the_sticky_patch",
    ),
    "6 a lost race (409 and 422) is run again, bounded, and the other writer's change survives": (
        "serving/test_istio_router::test_case_6_a_lost_race_is_run_again_and_the_other_writers_change_survives",
        "serving/test_istio_router::test_case_6_the_api_answers_as_it_does_in_a_cluster",
    ),
    "7 API unreachable: no advance; a rollback is retried until confirmed and converges without a person": (
        "serving/test_istio_router::test_case_7_without_the_api_nothing_advances_and_a_rollback_converges_when_it_returns",
        "serving/test_router_contract::test_case_7_during_an_outage_nothing_advances_and_the_rollback_takes_effect_afterwards",
        "rollout/test_other_hands::test_case_7_a_rollback_is_retried_by_every_tick_until_it_is_confirmed",
    ),
    "8 a deleted route is held and told; with recreate it comes back with the challenger at 0": (
        "rollout/test_other_hands::test_case_8_a_deleted_route_is_held_and_left_alone_unless_it_may_be_recreated",
        "rollout/test_other_hands::test_case_8_recreated_at_challenger_0_and_only_then_restored_under_the_guard",
        "serving/test_istio_router::test_case_8_a_deleted_route_comes_back_from_its_snapshot_with_everybodys_entries",
        "serving/test_router_contract::test_case_8_a_deleted_route_is_seen_and_put_back_with_the_challenger_at_0",
        "sensors/test_alerts::test_a_lost_route_is_told_to_the_webhook_and_an_advance_is_not",
    ),
    "9 hand-edited weights: noticed within one tick, with the manager's name, never adopted": (
        "rollout/test_other_hands::test_case_9_a_hand_edit_is_noticed_within_one_tick_with_the_managers_name_and_not_adopted",
        "rollout/test_other_hands::test_case_9_a_higher_weight_is_not_adopted_by_a_model_that_lost_its_verdict",
        "serving/test_istio_router::test_case_9_hand_edited_weights_are_seen_with_their_writer_and_are_no_verified_scope",
    ),
    "10 a GitOps tool that applies again and again: paused and named, no fight": (
        "rollout/test_other_hands::test_case_10_a_tool_that_applies_again_and_again_is_named_and_not_fought",
        "rollout/test_other_hands::test_a_rollback_is_written_in_the_middle_of_a_fight",
    ),
    "11 the observed split is off: hold": (
        "rollout/test_other_hands::test_case_11_an_observed_split_that_is_off_holds_and_says_both",
        "serving/test_istio_router::test_case_11_a_proxy_that_serves_something_else_is_no_confirmation",
    ),
    "12 a rejected update keeps the old routing; no request fails in 100 reweights": (
        "serving/test_routing::test_a_rejected_update_keeps_the_old_routes_also_over_a_restart",
        "serving/test_router_contract::test_case_12_100_reweights_under_load_lose_no_request",
        "serving/test_dataplane::test_100_reweights_of_real_servers_lose_no_request",
        "serving/test_istio_router::test_subsets_come_before_the_route_and_go_after_it",
    ),
    "13 the same patient, the same arm; a larger weight moves nobody back": (
        "serving/test_router_contract::test_split_is_sticky_and_a_larger_weight_moves_nobody_back",
        "serving/test_istio_router::test_a_split_that_is_not_sticky_is_no_split",
        "serving/test_routing::test_envoy_killed_and_started_again_finds_its_routes",
    ),
    "14 sample-ratio mismatch holds, but a guardrail still rolls back": (
        "rollout/test_tick::test_a_wrong_split_holds_but_a_guardrail_still_rolls_back",
    ),
    "15 telemetry down: no data, no advance, no failure": (
        "serving/test_istio_telemetry::test_case_15_without_prometheus_or_route_there_is_no_data",
        "rollout/test_tick::test_blind_holds_then_steps_down_once_per_limit",
        "rollout/test_guardrails::test_a_test_without_data_neither_passes_nor_fails",
    ),
    "16 an empty result is insufficient, two series are a configuration error": (
        "serving/test_istio_telemetry::test_case_16_an_empty_result_is_insufficient_and_a_second_series_a_configuration_error",
        "rollout/test_tick::test_ambiguous_telemetry_is_a_configuration_error",
    ),
    "17 NaN and infinity are never compared": (
        "serving/test_istio_telemetry::test_case_17_not_a_number_is_never_counted",
        "rollout/test_bets::test_infinite_factors_are_refused",
    ),
    "18 a counter reset counts nothing twice": (
        "serving/test_istio_telemetry::test_case_18_restarts_and_pods_that_are_gone_lose_nothing_and_count_nothing_twice",
        "rollout/test_tick::test_a_counter_reset_counts_nothing_twice",
        "serving/test_istio_telemetry::test_answer_times_are_summed_over_pods_and_a_restart_begins_a_whole_histogram_anew",
    ),
    "19 below the minimum n: no promotion, no statistical failure; hard rules act at once": (
        "rollout/test_guardrails::test_too_few_requests_block_the_advance_and_do_not_roll_back",
        "rollout/test_tick::test_one_invalid_output_rolls_back_at_once",
        "rollout/test_tick::test_a_constant_output_rolls_back",
    ),
    "20 a late label belongs to the arm of then, and can roll back after the promotion": (
        "rollout/test_tick::test_a_late_label_rolls_back_after_promotion_and_counts_for_the_arm_of_then",
        "rollout/test_after_promotion::test_predictions_that_get_worse_after_the_promotion_lead_back",
    ),
    "21 two equal models: no more false decisions than alpha, with many metrics and subgroups": (
        "rollout/test_error_rates::test_an_equal_model_is_rarely_called_harmful",
        "rollout/test_error_rates::test_a_model_at_the_margin_is_rarely_called_non_inferior",
        "rollout/test_error_rates::test_the_split_holds_alpha_through_the_ramp",
        "rollout/test_subgroups::test_many_groups_do_not_raise_false_alarms",
        "rollout/test_guardrails::test_all_rollback_tests_together_spend_no_more_than_the_budget",
        "rollout/test_after_promotion::test_false_alarms_are_bounded_by_what_was_put_in",
    ),
    "22 a critical metric in error blocks promotion": (
        "rollout/test_guardrails::test_slow_answers_roll_back_and_lost_buckets_are_a_configuration_error",
        "rollout/test_tick::test_missing_outcomes_forbid_an_advance",
    ),
    "23 stale evidence: hold": ("serving/test_istio_telemetry::test_case_23_stale_samples_are_no_data",),
    "24 an unknown metric or condition is rejected at load": (
        "rollout/test_policy_and_routes::test_an_unknown_key_is_refused",
        "rollout/test_policy_and_routes::test_rollback_budget_cannot_be_overspent",
    ),
    "25 no flapping: after a rollback a cool-down and a person": (
        "rollout/test_tick::test_a_rolled_back_digest_needs_the_cool_down_and_a_person",
    ),
    "26 many ticks at once: one change, one row": (
        "rollout/test_crash::test_many_ticks_at_once_change_the_weight_once",
        "rollout/test_crash::test_many_processes_at_once_change_the_weight_once",
        "rollout/test_local_stateful::test_nothing_goes_wrong_in_any_order",
        "rollout/test_istio_stateful::test_nothing_goes_wrong_in_any_order",
    ),
    "27 kill -9 at every write point: finished or reverted, no double step": (
        "rollout/test_crash::test_killed_at_every_write_point_nothing_is_lost_or_done_twice",
        "rollout/test_crash::test_an_advance_overtaken_by_bad_news_is_reverted",
        "rollout/test_local_stateful::test_nothing_goes_wrong_in_any_order",
        "rollout/test_istio_stateful::test_nothing_goes_wrong_in_any_order",
    ),
    "28 guardrails act while an approval is awaited": (
        "rollout/test_tick::test_guardrails_act_while_an_approval_is_awaited",
    ),
    "29 a new digest in the middle: weight 0 first, statistics from zero": (
        "rollout/test_tick::test_a_newer_model_supersedes_and_starts_from_nothing",
    ),
    "30 both models bad: the policy's fallback once, an alert, no flapping": (
        "rollout/test_both_bad::test_the_model_certified_before_the_champion_takes_over_once",
        "rollout/test_both_bad::test_nobody_gets_a_prediction_where_the_policy_says_so",
        "rollout/test_both_bad::test_only_a_person_leads_out_and_no_other_rollout_opens_before",
        "rollout/test_both_bad::test_people_are_told_and_the_fallback_is_loaded",
        "serving/test_router_contract::test_a_refusal_answers_503_with_the_reason_and_outcomes_still_arrive",
    ),
    "31 the champion is short of replicas: a rollback is written all the same": (
        "serving/test_istio_router::test_a_model_that_is_not_ready_gets_no_route_but_a_rollback_does_not_wait",
        "sensors/test_rollout_sensor::test_a_rollback_is_written_although_the_serving_back_end_is_down",
    ),
    "32 a verdict expired, revoked or failed later: weight 0 within one tick": (
        "sensors/test_rollout_sensor::test_a_signed_verdict_that_fell_takes_the_weight_to_0_within_one_evaluation",
        "rollout/test_authority::test_a_revoked_model_leaves_the_traffic_within_one_tick",
        "rollout/test_tick::test_a_verdict_that_fails_later_is_weight_zero_within_one_tick",
    ),
    "33 undecided at the deadline: retired, never shipped": (
        "rollout/test_tick::test_a_model_that_is_slightly_worse_never_leaves_shadow_and_retires_at_the_deadline",
    ),
    "34 the time from the first bad sample to share 0 is in the history row": (
        "rollout/test_tick::test_errors_in_traffic_roll_back_and_the_delay_is_recorded",
    ),
    "35 a decision row says everything, an edited one is detected, a preview writes nothing": (
        "rollout/test_tick::test_a_decision_row_says_everything",
        "rollout/test_ledger_rollouts::test_an_edited_decision_is_detected",
        "rollout/test_tick::test_a_preview_decides_alike_and_writes_nothing",
        "rollout/test_replay::test_every_decision_of_a_rollout_replays_to_the_same_bits",
    ),
}


@cache
def defined_in(module: str) -> set[str]:
    tree = ast.parse((TESTS / f"{module}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("case", CASES)
def test_the_tests_of_a_case_exist(case: str) -> None:
    for proof in CASES[case]:
        module, _, name = proof.partition("::")
        assert name in defined_in(module), proof


def test_no_case_is_missing() -> None:
    assert [int(case.split()[0]) for case in CASES] == list(range(1, 36))
