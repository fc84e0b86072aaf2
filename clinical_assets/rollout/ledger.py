"""The ledger: one door to predictions, outcomes, rollouts, decisions, route intents and leases.

`foundation.database.create_tables` makes its tables, or brings them to this version's schema.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine

from clinical_assets.audit.chain import ChainState, HashChain, snapshot
from clinical_assets.audit.keys import KeyStore, Signer
from clinical_assets.audit.removals import gaps, verify_removals
from clinical_assets.audit.seals import Seal
from clinical_assets.rollout.history import RolloutHistory
from clinical_assets.rollout.intents import Intents
from clinical_assets.rollout.leases import Leases
from clinical_assets.rollout.predictions import EVENTS, PredictionLog
from clinical_assets.rollout.tables import intents, memberships, outcomes, predictions, rollouts, transitions

CHAINS = {
    table.name: HashChain(table, sequence)
    for table, sequence in (
        (predictions, EVENTS),
        (memberships, None),
        (outcomes, EVENTS),
        (rollouts, None),
        (transitions, None),
        (intents, None),
    )
}


class Ledger(PredictionLog, RolloutHistory, Intents, Leases):
    """All writes are single transactions; a process killed at any moment leaves whole rows and a valid chain."""

    def __init__(self, engine: Engine, wall: Callable[[], float] = time.time) -> None:
        for part in (PredictionLog, RolloutHistory, Intents, Leases):
            part.__init__(self, engine, wall)

    def seal(self, signer: Signer, at_utc: str) -> list[Seal]:
        """Sign the present end of every chain; keep the seals elsewhere to detect a restored older database."""
        with self.engine.begin() as connection:
            return [chain.seal(connection, signer, at_utc) for chain in CHAINS.values()]

    def verify_chain(self, keys: KeyStore | None = None, witnesses: tuple[Seal, ...] = ()) -> ChainState:
        """Verify all chains; the first fault found is the problem."""
        kept = {seal.chain: seal for seal in witnesses}
        entries = 0
        with snapshot(self.engine) as connection:
            state = verify_removals(connection, keys)
            if not state.ok:
                return state
            for name, chain in CHAINS.items():
                removed = gaps(connection, name)
                state = chain.verify(connection, keys, "platform", witness=kept.get(name), removed=removed)
                if not state.ok:
                    return state
                entries += state.entries
        return ChainState(True, entries)
