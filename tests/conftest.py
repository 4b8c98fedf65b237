"""What several tests share: a random model folder, a small private world, a workspace. No network, no GPU."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from lab.corpus.corpus import Corpus
from lab.curriculum import train_tokenizer
from lab.foundry.model import SIZES, new_model
from lab.ledger import Ledger
from lab.store import Store
from lab.workspace import Workspace
from lab.worlds.embedded import StatuteCorpus
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook

# The same cases every time, none kept in the tree, and no time that a busy machine could miss.
settings.register_profile(
    "fast",
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=600)
settings.load_profile("fast")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Whatever reaches for another machine fails here, whether or not there is a network."""
    connect = socket.socket.connect

    def at_home(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(
            ("127.", "::1", "localhost")
        ):
            raise AssertionError(f"a test reaches for {address[0]}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", at_home)
        yield


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the embedded model's layout and tokenizer, and weights that know nothing."""
    folder = tmp_path_factory.mktemp("model") / "random"
    tokenizer = train_tokenizer(GeneralWorld(subjects=10), SIZES["tiny"].vocabulary, seed=0, samples=200)
    torch.manual_seed(0)
    new_model(SIZES["tiny"], tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def book() -> StatuteBook:
    return StatuteBook(acts=6, sections=2)


@pytest.fixture(scope="session")
def small_corpus(book: StatuteBook) -> Corpus:
    return StatuteCorpus(book).load()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Store(tmp_path / "artifacts"), Ledger(), seed=0, device="cpu")
