"""What every preparation step is given beside the corpus: where to keep things, whom to bill, the seed, the device."""

from __future__ import annotations

from dataclasses import dataclass

from lab.ledger import Ledger
from lab.store import Store


@dataclass(frozen=True)
class Workspace:
    """store: prepared artifacts. ledger: what it cost. seed: of all chance. device: `cpu` or `cuda`."""

    store: Store
    ledger: Ledger
    seed: int
    device: str
