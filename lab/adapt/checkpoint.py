"""All that a training goes on from: trained weights, the optimizer's moments, the schedule, chance, and the curve."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors.torch import load_file, save_file

from lab.adapt.shards import split, whole
from lab.store import JSON

WEIGHTS, MOMENTS = "weights.safetensors", "moments"


def learning(model: Any) -> dict[str, torch.Tensor]:
    """The weights that learn, by name; the others are the base's. Whole, see `lab.adapt.shards.whole`."""
    return {name: whole(weight.detach()) for name, weight in model.named_parameters() if weight.requires_grad}


def moments(optimizer: Any) -> dict[str, torch.Tensor]:
    """An optimizer's moments, by number and kind. Whole, as the weights."""
    return {
        f"{number}.{kind}": whole(value.detach()).contiguous()
        for number, state in optimizer.state_dict()["state"].items()
        for kind, value in state.items()
    }


def write(
    folder: Path, weights: Mapping[str, torch.Tensor], moments: Mapping[str, torch.Tensor], scheduler: Any
) -> dict[str, JSON]:
    """Write a training's state: tensors to the folder; what is told back is to be noted, and given to `restore`."""
    save_weights(folder, weights)
    save_moments(folder, moments)
    # A schedule is a few numbers; through JSON and back they are the very same.
    return {"schedule": json.loads(json.dumps(scheduler.state_dict())), "chance": chance()}


def save_weights(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the weights that learn."""
    save_file(dict(weights), folder / WEIGHTS)


def restore_weights(folder: Path, model: Any) -> None:
    """Put the weights of a state into a model that was made as the one which wrote it."""
    kept = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, weight in learning(model).items():
            weight.copy_(kept[name])


def save_moments(folder: Path, moments: Mapping[str, torch.Tensor], name: str = MOMENTS) -> None:
    """Write an optimizer's moments. name: of the file, where there are several optimizers."""
    save_file(dict(moments), folder / f"{name}.safetensors")


def restore_moments(folder: Path, optimizer: Any, name: str = MOMENTS) -> None:
    """Put the moments of a state into a fresh optimizer over the same weights."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / f"{name}.safetensors").items():
        number, _, kind = key.partition(".")
        state.setdefault(int(number), {})[kind] = split(value, weights[int(number)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def chance() -> dict[str, JSON]:
    """The state of every generator of random numbers, as JSON: reading it back runs nothing."""
    kind, keys, place, has_gauss, gauss = numpy.random.get_state()
    version, words, following = random.getstate()
    boards = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": _text(torch.get_rng_state()),
        "cuda": [_text(state) for state in boards],
        "numpy": [str(kind), numpy.asarray(keys).tolist(), int(place), int(has_gauss), float(gauss)],
        "python": [version, list(words), following],
    }


def restore_chance(state: Mapping[str, Any]) -> None:
    """Go on drawing where `chance` was asked."""
    torch.set_rng_state(_tensor(state["torch"]))
    if state["cuda"]:
        torch.cuda.set_rng_state_all([_tensor(board) for board in state["cuda"]])
    kind, keys, *rest = state["numpy"]
    numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), *rest))
    version, words, following = state["python"]
    random.setstate((version, tuple(words), following))


def finite(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether every weight is a number."""
    return all(bool(torch.isfinite(weight).all()) for weight in weights.values())


def _text(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
