"""Feast: one feature view per cancer type, point-in-time joins for training, an online table for serving.

DuckDB offline (the `file` store drops rows with equal keys); registry and online table as in `resources.feast_stores`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from clinical_assets.foundation.home import Home
from clinical_assets.foundation.locks import exclusive
from resources.feast_stores import online_store, registry

if TYPE_CHECKING:
    import feast
    import pandas as pd

    from clinical_assets.trials.contract import CohortContract

ONLINE_SUBJECTS = 20_000
"""Most subjects of one cancer type in the online table, the latest known first."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints progress to standard output and warns about its own dependencies; neither is for our users."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class PointInTimeError(RuntimeError):
    """The join did not give one row for each subject; nothing was trained."""


class FeatureStore(dg.ConfigurableResource):
    """`directory` empty: `feast/` in the state directory."""

    directory: str = ""

    def register(self, cancer: str, contract: CohortContract, table: Path) -> None:
        """Point the feature view of `cancer` at `table` (Parquet: subject_id, available_at, features)."""
        import feast
        from feast.types import Float64, String

        entity = feast.Entity(name="subject", join_keys=["subject_id"], value_type=feast.ValueType.STRING)
        view = feast.FeatureView(
            name=cancer,
            entities=[entity],
            ttl=None,
            schema=[feast.Field(name=c.name, dtype=Float64 if c.numeric else String) for c in contract.features],
            source=feast.FileSource(name=f"{cancer}_table", path=str(table), timestamp_field="available_at"),
            description=f"features of {cancer}, known at the index date",
        )
        with exclusive(self._root / "registry.lock"), _quiet():
            self._store().apply([entity, view])

    def training_frame(self, cancer: str, contract: CohortContract, index_dates: pd.DataFrame) -> pd.DataFrame:
        """Features as known at each subject's index date.

        Args:
            index_dates: (n, 2) subject_id and index_date, one row a subject.

        Returns:
            (n, 1 + features) frame: subject_id and features in contract order, in the order of `index_dates`.

        Raises:
            PointInTimeError: rows lost, doubled, or without any feature known at the index date.
        """
        entities = index_dates.rename(columns={"index_date": "event_timestamp"})
        entities = entities.assign(event_timestamp=entities["event_timestamp"].dt.tz_localize("UTC"))
        names = [column.name for column in contract.features]
        with exclusive(self._root / "registry.lock"):
            store = self._store()
        with _quiet():
            joined = store.get_historical_features(entities, [f"{cancer}:{name}" for name in names]).to_df()
        joined = joined.set_index("subject_id")
        if len(joined) != len(index_dates) or not joined.index.is_unique:
            raise PointInTimeError(
                f"{cancer}: {len(index_dates)} subjects went into the feature join, {len(joined)} rows came out"
            )
        frame = joined.loc[index_dates["subject_id"], names].reset_index()
        empty = int(frame[names].isna().all(axis=1).sum())
        if empty:
            raise PointInTimeError(
                f"{cancer}: {empty} of {len(frame)} subjects have no feature that was known at their index date; "
                "look at available_at in the contract"
            )
        return frame

    def materialize(self, cancer: str, table: pd.DataFrame) -> int:
        """Copy the newest value of each subject into the online table; returns how many subjects it now holds.

        A large cohort leaves its older subjects to the offline store: Feast turns every value into a message of its own
        before it writes (a million subjects of 30 features took 22 GB), and nobody asks a server about them.

        Args:
            table: subject_id, available_at and features, as registered.
        """
        with exclusive(self._root / "registry.lock"), _quiet():
            if len(table) <= ONLINE_SUBJECTS:
                self._store().materialize(
                    datetime(1900, 1, 1, tzinfo=UTC), datetime.now(UTC), [cancer], disable_event_timestamp=True
                )
                return len(table)
            newest = table.sort_values(["available_at", "subject_id"]).tail(ONLINE_SUBJECTS)
            self._store().write_to_online_store(cancer, newest)
        return ONLINE_SUBJECTS

    def online(self, cancer: str, contract: CohortContract, subject_ids: list[str]) -> pd.DataFrame:
        """(n, features) newest values of `subject_ids`; missing subjects give missing values."""
        names = [f"{cancer}:{column.name}" for column in contract.features]
        rows = [{"subject_id": subject} for subject in subject_ids]
        frame = self._store().get_online_features(names, rows).to_df()
        return frame[[column.name for column in contract.features]]

    @property
    def _root(self) -> Path:
        return Path(self.directory) if self.directory else Home.from_env().prepare().feast

    def _store(self) -> feast.FeatureStore:
        import feast
        from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig

        return feast.FeatureStore(
            config=feast.RepoConfig(
                project="clinical",
                provider="local",
                registry=registry(self._root),
                offline_store=DuckDBOfflineStoreConfig(),
                online_store=online_store(self._root),
                entity_key_serialization_version=3,
            )
        )
