"""Routes as pure data: round trip, foreign content, refusal of what is not ours."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_assets.rollout.routing import RouteConflict, RouteState
from clinical_assets.serving.envoy.files import empty_route_config
from clinical_assets.serving.envoy.reading import current_for, observe, with_routes
from clinical_assets.serving.envoy.resources import clusters_for, is_our_cluster, routes_for
from clinical_assets.serving.observing import retreats

A, B = "a" * 64, "b" * 64
cancers = st.sampled_from(["breast", "breast_fna", "colon"])
routes = st.one_of(
    st.builds(RouteState, cancers, st.sampled_from(["", "r1"]), st.just(A), refused=st.booleans()),
    st.builds(
        RouteState, cancers, st.sampled_from(["", "r1"]), st.just(A), st.just(B), st.integers(0, 100),
        st.booleans(), st.booleans(),
    ),
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
foreign_routes = st.lists(
    st.builds(lambda name, rest: {**rest, "name": name}, st.sampled_from(["vendor", "clinical/other/split", ""]),
              st.dictionaries(st.text(min_size=1, max_size=8), json_values, max_size=3)),
    max_size=4,
)  # fmt: skip


@given(routes)
def test_what_is_written_is_what_is_read(route: RouteState) -> None:
    config = with_routes(route.cancer, [empty_route_config()], routes_for(route))[0]
    observed = observe(route.cancer, config)
    assert observed is not None
    assert observed.state == route
    assert observed.declared == route.weight
    assert observe("other", config) is None


@given(routes)
def test_weights_are_whole_and_add_up_to_100_and_every_destination_has_a_cluster(route: RouteState) -> None:
    clusters = {cluster["name"] for cluster in clusters_for(route, lambda _: 1)}
    assert all(is_our_cluster(route.cancer, name) for name in clusters)
    entry = next(r for r in routes_for(route) if r["name"].endswith("/split"))
    if route.refused:
        assert (entry["direct_response"]["status"], "route" in entry) == (503, False)
        return
    split = entry["route"]
    weighted = split["weighted_clusters"]["clusters"]
    assert sum(entry["weight"] for entry in weighted) == 100
    assert all(isinstance(entry["weight"], int) and entry["weight"] > 0 for entry in weighted)
    copies = {policy["cluster"] for policy in split.get("request_mirror_policies", [])}
    assert {entry["name"] for entry in weighted} | copies <= clusters


@settings(max_examples=60)
@given(routes, routes, foreign_routes)
def test_a_route_write_keeps_every_foreign_value_in_its_place(
    first: RouteState, second: RouteState, foreign: list[dict]
) -> None:
    config = empty_route_config()
    config["virtual_hosts"][0]["routes"] = copy.deepcopy(foreign)
    config["virtual_hosts"].append({"name": "vendor", "domains": ["v"], "x": foreign})
    before = json.dumps(config)
    once = with_routes(first.cancer, [config, {"name": "elsewhere"}], routes_for(first))
    again = second if second.cancer == first.cancer else first
    twice = with_routes(again.cancer, once, routes_for(again))
    assert json.dumps(config) == before
    mine = f"clinical/{first.cancer}/"
    left = [r for r in twice[0]["virtual_hosts"][0]["routes"] if not r["name"].startswith(mine)]
    assert json.dumps(left) == json.dumps(foreign)
    assert twice[0]["virtual_hosts"][1] == config["virtual_hosts"][1]
    assert twice[1] == {"name": "elsewhere"}
    assert [r for r in twice[0]["virtual_hosts"][0]["routes"] if r["name"].startswith(mine)] == routes_for(again)


def written(route: RouteState) -> dict:
    return copy.deepcopy(with_routes(route.cancer, [empty_route_config()], routes_for(route))[0])


def split_clusters(config: dict) -> list[dict]:
    split = next(r for r in config["virtual_hosts"][0]["routes"] if r["name"].endswith("/split"))
    return split["route"]["weighted_clusters"]["clusters"]


def test_a_foreign_destination_is_named_and_only_the_way_back_to_the_champion_replaces_it() -> None:
    route = RouteState("colon", "r1", A, B, 10)
    config = written(route)
    split_clusters(config)[0]["weight"] = 80
    split_clusters(config).append({"name": "vendor-model", "weight": 10})
    with pytest.raises(RouteConflict, match="vendor-model"):
        observe("colon", config)
    with pytest.raises(RouteConflict, match="vendor-model"):
        current_for(RouteState("colon", "r1", A, B, 5), config)
    assert current_for(route.at_rest(), config) is not None
    with pytest.raises(RouteConflict):
        current_for(RouteState("colon", "r1", B), config)


def test_weights_that_do_not_add_up_to_100_are_refused() -> None:
    config = written(RouteState("colon", "r1", A, B, 10))
    split_clusters(config)[0]["weight"] = 100
    with pytest.raises(RouteConflict, match="100"):
        observe("colon", config)


def test_a_hand_edited_weight_is_seen_but_is_not_verified_scope() -> None:
    config = written(RouteState("colon", "r1", A, B, 10))
    for entry, weight in zip(split_clusters(config), (50, 50), strict=True):
        entry["weight"] = weight
    observed = observe("colon", config)
    assert observed is not None
    assert observed.state.weight == 50
    assert observed.verified.weight == 10


@given(routes, routes)
def test_a_retreat_never_gives_a_model_more_than_it_has(new: RouteState, old: RouteState) -> None:
    if retreats(new, old) and new.challenger is not None:
        assert new.weight <= old.weight
        assert new.challenger == old.challenger
    assert retreats(old.at_rest(), old)


def test_clusters_of_a_cancer_type_are_not_confused_with_those_of_a_longer_name() -> None:
    assert is_our_cluster("breast", "breast-" + "a" * 12 + "-shadow")
    assert not is_our_cluster("breast", "breast_fna-" + "a" * 12)
    assert not is_our_cluster("breast", "breast-legacy")
