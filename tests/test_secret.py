"""Keys do not get into what a run leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.records import LabError
from lab.secret import refuse_secrets

KEY = "sk-" + "a1B2" * 8
SECRETS = (
    f"model.api_key={KEY}",
    f"+model.extra.api_key={KEY}",
    "model.password=hunter2",
    "+hf_token=abc",
    f"model.name={KEY}",
    "model.url=http://me:hunter2@host/v1",
    "model.name=hf_" + "x" * 34,
    "model.name=ghp_" + "x" * 36,
    "model.extra={headers:{authorization:eyJhbGciOiJI.eyJzdWIiOiIxMjM0.abc}}",
    KEY,
)


@pytest.mark.parametrize("word", SECRETS)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(word: str) -> None:
    with pytest.raises(LabError, match="looks like a key or a password") as caught:
        refuse_secrets(["pipeline=rag", word])
    for secret in (KEY, "hunter2", "abc}", "x" * 34):
        assert secret not in str(caught.value)


def test_ordinary_words_are_none() -> None:
    refuse_secrets(
        [
            "training.tokens=40000", "answer_tokens=32", "model.api_key_env=OPENAI_API_KEY", "model.api_key_env=null",
            "model.path=/models/sk-small", "corpus.max_tokens=384", "-m", "pipeline=rag,cpt", "model.url=http://host:8000/v1",
        ]
    )  # fmt: skip


def test_a_refused_command_leaves_nothing_behind(tmp_path: Path) -> None:
    words = [f"model.api_key={KEY}", f"hydra.run.dir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "lab", *words]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert KEY not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()
