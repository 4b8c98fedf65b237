"""Several processes of one command, as `accelerate launch` or torchrun starts them, and what they tell one another.

All of them read the same configuration and take part in every training; everything else is rank 0's: the console, the
run folder, the artifacts, the answers. Torch is imported only inside functions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab.records import LabError
from lab.store import JSON, Artifact, Store

# The others have nothing to do while rank 0 sits an exam. A rank that dies ends them all: its launcher sees to that.
PATIENCE = timedelta(days=7)
SPEAKING_SECONDS = 10.0  # What rank 0 is given to say what it met too, before another says it.


def rank() -> int:
    """Of this process, from 0; in the words of torchrun's environment."""
    return int(os.environ.get("RANK", 0))


def count() -> int:
    """How many processes there are, 1 where none was launched."""
    return int(os.environ.get("WORLD_SIZE", 1))


def parts() -> int:
    """In how many parts each process takes a step's rows: `accelerate launch --gradient_accumulation_steps`."""
    return int(os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", 1))


def sharded() -> bool:
    """Whether weights, gradients and moments are split over the processes while they train: FSDP2."""
    return _told("ACCELERATE_USE_FSDP")


def zero() -> bool:
    """Whether gradients and moments alone are, by DeepSpeed's ZeRO."""
    return _told("ACCELERATE_USE_DEEPSPEED")


def join(device: str) -> None:
    """Meet the other processes; from now on `cuda` is this one's own board. Where there are none nothing is done.

    LabError where weights would be split over them in a way that the lab cannot put together again.
    """
    if zero() and os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") not in ("1", "2"):
        raise LabError(
            "accelerate launch: DeepSpeed needs zero_stage: 2 in accelerate's own file, see conf/accelerate/"
            "deepspeed.yml; fsdp2.yml splits the weights too"
        )
    if sharded() and (os.environ.get("FSDP_VERSION") != "2" or _told("FSDP_CPU_RAM_EFFICIENT_LOADING")):
        raise LabError(
            "accelerate launch: FSDP needs fsdp_version: 2, and fsdp_cpu_ram_efficient_loading: false, since every "
            "process reads the base; see conf/accelerate/fsdp2.yml"
        )
    if count() > 1:
        from accelerate import PartialState

        how: dict[str, Any] = {"cpu": device == "cpu"}
        if zero() and device == "cpu":  # Asked for CPUs, accelerate would leave DeepSpeed out.
            how = {"backend": "gloo"}
        PartialState(**how, timeout=PATIENCE)


def _told(name: str) -> bool:
    return os.environ.get(name, "false").lower() == "true"


def let_first_speak() -> None:
    """A mistake is as a rule met by all ranks: rank 0 tells it, and its end is that of the others."""
    if rank():
        time.sleep(SPEAKING_SECONDS)


def told(word: Any) -> Any:
    """Rank 0's word, to all."""
    if count() == 1:
        return word
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([word])[0]


def agreed(*numbers: int) -> list[int]:
    """Of each number the largest that any rank gave, so that all do the same after a step."""
    if count() == 1:
        return list(numbers)
    import torch
    from accelerate import PartialState

    largest = torch.tensor(numbers, dtype=torch.int, device=PartialState().device)
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return [int(number) for number in largest.tolist()]


def artifact(
    store: Store, kind: str, key: Mapping[str, JSON], build: Callable[[Path], Mapping[str, JSON] | None]
) -> Artifact:
    """The store's artifact, to the building of which all processes are needed. LabError where another than rank 0 does
    not find it: artifacts belong where all can read them.
    """
    if count() == 1:
        return store.artifact(kind, key, build)
    if rank() == 0:

        def with_all(folder: Path) -> Mapping[str, JSON] | None:
            told(True)
            return build(folder)

        made = store.artifact(kind, key, with_all)
        told(False)
        return made
    while told(None):
        with TemporaryDirectory() as unused:
            build(Path(unused))

    def missing(folder: Path) -> None:
        raise LabError(f"{store.root}: what rank 0 wrote is not there; artifacts need a folder that all ranks see")

    return store.artifact(kind, key, missing)
