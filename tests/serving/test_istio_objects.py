"""Routes as Istio objects, as pure data: round trip through both readings, foreign content, refusals."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_assets.rollout.routing import RouteConflict, RouteState
from clinical_assets.serving.istio.patching import operations, unless_changed
from clinical_assets.serving.istio.reading import current_for, declared, names_model, served
from clinical_assets.serving.istio.router import _steps
from clinical_assets.serving.istio.routes import (
    WeightError,
    objects,
    positions,
    require_whole_shares,
    routes_for,
    sticky_patch,
    subsets_for,
)
from clinical_assets.serving.kubernetes.names import ANSWERS_PORT, CANCER_LABEL, MODEL_LABEL, Names, is_our_subset
from tests.kubernetes_double.documents import Document, PatchFailed, json_patch, merge_patch
from tests.kubernetes_double.istiod import clusters, route_configuration

A, B = "a" * 64, "b" * 64
NAMES = Names()
cancers = st.sampled_from(["breast", "breast_fna", "colon"])
routes = st.one_of(
    st.builds(RouteState, cancers, st.sampled_from(["", "r1"]), st.just(A), refused=st.booleans()),
    st.builds(
        RouteState, cancers, st.sampled_from(["", "r1"]), st.just(A), st.just(B), st.integers(0, 100),
        st.booleans(), st.booleans(),
    ),
)  # fmt: skip
shares = st.integers(1, 99)
keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
foreign_entries = st.lists(
    st.builds(lambda name, rest: {**rest, "name": name}, st.sampled_from(["vendor", "clinical/other/split", ""]),
              st.dictionaries(keys.filter(lambda key: key != "name"), json_values, max_size=3)),
    max_size=4,
)  # fmt: skip


def installed() -> dict[str, Document]:
    return copy.deepcopy(objects(NAMES, "clinical-gateway", ["models.clinical.internal"]))


def written(route: RouteState) -> dict[str, Document]:
    found = installed()
    found[NAMES.virtual_service]["spec"]["http"][:0] = copy.deepcopy(routes_for(route, NAMES))
    found[NAMES.destination_rule]["spec"]["subsets"] = subsets_for(route)
    found[NAMES.envoy_filter]["spec"]["configPatches"] = [sticky_patch(route.cancer)]
    return found


@given(routes)
def test_what_is_written_is_what_is_declared_and_what_istio_makes_the_proxies_serve(route: RouteState) -> None:
    found = written(route)
    seen = declared(route.cancer, found[NAMES.virtual_service], NAMES)
    assert seen is not None
    assert (seen.state, seen.declared) == (route, route.weight)
    assert served(route.cancer, [route_configuration(found, NAMES)], NAMES) == seen
    assert declared("other", found[NAMES.virtual_service], NAMES) is None


@given(routes)
def test_case_2_and_5_weights_are_whole_above_0_and_add_up_to_100_and_every_subset_exists(route: RouteState) -> None:
    subsets = {entry["name"] for entry in subsets_for(route)}
    assert all(is_our_subset(route.cancer, name) for name in subsets)
    for entry in routes_for(route, NAMES):
        if "directResponse" in entry:
            assert (route.refused, "route" in entry, "retries" in entry) == (True, False, False)
            continue
        weights = [destination.get("weight") for destination in entry["route"]]
        assert weights == [None] or (sum(weights) == 100 and all(type(w) is int and w > 0 for w in weights))
        used = [*entry["route"], *entry.get("mirrors", [])]
        assert {target["destination"]["subset"] for target in used} <= subsets


@pytest.mark.parametrize("weights", [(120, -20), (100, 0), (90, 20), (50.0, 50.0), (100,), (0,), (None, None), (1, 1)])
def test_case_2_other_weights_are_refused_before_they_are_written(weights: tuple) -> None:
    entry = {"name": "clinical/colon/split", "route": [{} if w is None else {"weight": w} for w in weights]}
    with pytest.raises(WeightError, match="clinical/colon/split"):
        require_whole_shares([entry])


@settings(max_examples=60)
@given(shares, shares, foreign_entries, foreign_entries, st.dictionaries(keys, json_values, max_size=3), st.booleans())
def test_case_1_a_reweight_changes_the_two_weights_and_the_header_that_states_them_and_nothing_else(
    old: int, new: int, before: list, after: list, annotations: dict, mirror: bool
) -> None:
    route = RouteState("colon", "r1", A, B, old, mirror=mirror)
    document = installed()[NAMES.virtual_service]
    document["metadata"] |= {"annotations": annotations, "resourceVersion": "7"}
    document["spec"]["http"] = [*before, *copy.deepcopy(routes_for(route, NAMES)), *after]
    original = json.dumps(document)
    wanted = routes_for(RouteState("colon", "r1", A, B, new, mirror=mirror), NAMES)
    steps = unless_changed(document, _steps("colon", document["spec"]["http"], wanted))
    changed = json_patch(document, steps)
    assert len(steps) == (0 if old == new else 4)
    at = len(before)
    assert [entry["weight"] for entry in changed["spec"]["http"][at]["route"]] == [100 - new, new]
    split = changed["spec"]["http"][at]
    split["route"][0]["weight"], split["route"][1]["weight"] = 100 - old, old
    split["headers"]["request"]["set"]["x-challenger-weight"] = str(old)
    assert json.dumps(changed) == original


@settings(max_examples=60)
@given(routes, routes, foreign_entries, foreign_entries)
def test_any_change_keeps_foreign_entries_in_their_bytes_and_order(
    one: RouteState, other: RouteState, before: list, after: list
) -> None:
    other = replace(other, cancer=one.cancer)
    http = [*before, *routes_for(one, NAMES), *after]
    document = {"metadata": {"resourceVersion": "7"}, "spec": {"http": http}}
    wanted = routes_for(other, NAMES)
    changed = json_patch(document, unless_changed(document, _steps(one.cancer, http, wanted)))["spec"]["http"]
    ours = positions(one.cancer, changed)
    assert [changed[index] for index in ours] == wanted
    assert ours == list(range(len(before), len(before) + len(wanted)))
    rest = [entry for index, entry in enumerate(changed) if index not in ours]
    assert json.dumps(rest) == json.dumps([*before, *after])


@settings(max_examples=60)
@given(st.dictionaries(keys, json_values, max_size=4), st.dictionaries(keys, json_values, max_size=4))
def test_a_patch_turns_one_document_into_the_other(before: dict, after: dict) -> None:
    assert json_patch(before, operations(before, after)) == after


def test_a_foreign_destination_is_named_and_only_the_way_back_to_the_champion_replaces_it() -> None:
    route = RouteState("colon", "r1", A, B, 10)
    service = written(route)[NAMES.virtual_service]
    service["spec"]["http"][0]["route"][0]["weight"] = 80
    service["spec"]["http"][0]["route"].append({"destination": {"host": "vendor-model"}, "weight": 10})
    with pytest.raises(RouteConflict, match="vendor-model"):
        declared("colon", service, NAMES)
    with pytest.raises(RouteConflict, match="vendor-model"):
        current_for(RouteState("colon", "r1", A, B, 5), service, NAMES)
    assert current_for(route.at_rest(), service, NAMES) is not None
    with pytest.raises(RouteConflict):
        current_for(RouteState("colon", "r1", B), service, NAMES)


def test_a_third_subset_of_our_own_service_is_foreign_too() -> None:
    service = written(RouteState("colon", "r1", A, B, 10))[NAMES.virtual_service]
    destinations = service["spec"]["http"][0]["route"]
    destinations[0]["weight"] = 80
    third = copy.deepcopy(destinations[0])
    third["destination"]["subset"], third["weight"] = "colon-cccccccccccc", 10
    destinations.append(third)
    with pytest.raises(RouteConflict, match="colon-cccccccccccc"):
        declared("colon", service, NAMES)


def test_a_hand_edit_to_weights_that_istio_accepts_but_are_no_shares_is_refused() -> None:
    service = written(RouteState("colon", "r1", A, B, 10))[NAMES.virtual_service]
    service["spec"]["http"][0]["route"][1]["weight"] = 30
    with pytest.raises(RouteConflict, match="100"):
        declared("colon", service, NAMES)


def test_the_sticky_patch_would_break_a_lone_destination_under_the_name_of_a_split() -> None:
    """Why a lone destination has a name of its own: merging replaces its cluster by no cluster at all."""
    found = written(RouteState("colon", "", A))
    found[NAMES.virtual_service]["spec"]["http"][0]["name"] = "clinical/colon/split"
    action = route_configuration(found, NAMES)["virtual_hosts"][0]["routes"][0]["route"]
    assert "cluster" not in action
    assert "clusters" not in action["weighted_clusters"]
    whole = route_configuration(written(RouteState("colon", "", A)), NAMES)["virtual_hosts"][0]["routes"][0]
    assert "cluster" in whole["route"]


def test_only_the_challengers_share_falls_over_and_only_to_the_champion() -> None:
    found = written(RouteState("colon", "r1", A, B, 10))
    pods = {digest: {CANCER_LABEL: "colon", MODEL_LABEL: digest[:12]} for digest in (A, B)}
    stranger = {CANCER_LABEL: "breast", MODEL_LABEL: B[:12]}
    reach = clusters(found, NAMES, (ANSWERS_PORT,))
    champion, challenger = (
        reach[NAMES.cluster(destination["destination"]["subset"])]
        for destination in found[NAMES.virtual_service]["spec"]["http"][0]["route"]
    )
    assert [champion.priority(pod) for pod in (pods[A], pods[B], stranger)] == [0, None, None]
    assert [challenger.priority(pod) for pod in (pods[B], pods[A], stranger)] == [0, 1, None]
    copies = written(RouteState("colon", "r1", A, B, 10, mirror=True))[NAMES.virtual_service]["spec"]["http"][0]
    assert [m["destination"]["subset"] for m in copies["mirrors"]] == ["colon-" + d[:12] for d in (B, A)]


def test_a_model_is_named_by_answers_copies_and_foreign_entries_alike() -> None:
    shadow = written(RouteState("colon", "r1", A, B, 0, mirror=True))[NAMES.virtual_service]
    assert names_model(shadow, "colon", A)
    assert names_model(shadow, "colon", B), "a mirrored model is still needed"
    assert not names_model(shadow, "colon", "c" * 64)
    assert not names_model(shadow, "breast", A)
    assert not names_model(None, "colon", A)


def test_subsets_of_a_cancer_type_are_not_confused_with_those_of_a_longer_name() -> None:
    assert is_our_subset("breast", "breast-" + "a" * 12)
    assert not is_our_subset("breast", "breast-fna-" + "a" * 12)


def test_the_doubles_patches_follow_the_examples_of_their_standards() -> None:
    """RFC 7396, appendix A, and RFC 6902, appendix A."""
    assert merge_patch({"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}) == {
        "a": "z",
        "c": {"d": "e"},
    }
    assert merge_patch({"a": [1, 2]}, {"a": [3]}) == {"a": [3]}
    add = {"op": "add", "path": "/foo/1", "value": "qux"}
    assert json_patch({"foo": ["bar", "baz"]}, [add]) == {"foo": ["bar", "qux", "baz"]}
    assert json_patch({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}]) == {"foo": "bar"}
    assert json_patch({"a/b": 1, "m~n": 8}, [{"op": "test", "path": "/m~0n", "value": 8}]) == {"a/b": 1, "m~n": 8}
    for failing in ({"op": "test", "path": "/baz", "value": "bar"}, {"op": "add", "path": "/no/bat", "value": 1}):
        with pytest.raises(PatchFailed):
            json_patch({"baz": "qux"}, [failing])
