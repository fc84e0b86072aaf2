"""One setting chooses the data plane; secrets come from the environment at run time only."""

from __future__ import annotations

import pytest

from resources.cluster import ClusterServing, IstioTrafficRouter, PrometheusTelemetry
from resources.data_plane import DeploymentError, Telemetry, TrafficRouter, data_plane
from resources.ledger_store import LedgerStore
from resources.signer import Signer


def test_the_default_is_envoy_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLINICAL_DEPLOYMENT", raising=False)
    plane = data_plane(LedgerStore(signer=Signer()))
    assert (type(plane["traffic_router"]), type(plane["telemetry"])) == (TrafficRouter, Telemetry)


def test_kubernetes_is_one_setting_away_and_no_secret_is_in_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_DEPLOYMENT", "kubernetes")
    monkeypatch.setenv("CLINICAL_PROMETHEUS_TOKEN", "s3cret")
    plane = data_plane(LedgerStore(signer=Signer()))
    assert isinstance(plane["traffic_router"], IstioTrafficRouter)
    assert isinstance(plane["telemetry"], PrometheusTelemetry)
    assert isinstance(plane["serving_backend"], ClusterServing)
    assert "s3cret" not in repr(plane)


def test_an_unknown_deployment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_DEPLOYMENT", "swarm")
    with pytest.raises(DeploymentError, match=r"swarm.*local, kubernetes"):
        data_plane(LedgerStore(signer=Signer()))
