"""Build a base model from scratch on the general world: one that can read, and remembers what it was taught.

    python -m lab.foundry model=tiny                # two CPU cores, two hours: the embedded default
    python -m lab.foundry model=small out=bases/small device=cuda

The curriculum goes from copying to reading: first questions that repeat a statement's own words, then more wordings,
more subjects, questions in other words, at last "unknown". A level ends when a probe says so, or when it has had its
share of the tokens: what is missing then is learnt beside the rest. Lessons are made as they are needed. A training
that was stopped or killed goes on when the same command is given again.

Options, as name=value: model (tiny, small, medium), out (a folder; lab/assets/NAME), device (auto, cpu, cuda),
seed (0), tokens (the size's own).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lab.base import EMBEDDED, BaseModel
from lab.code import digest_code
from lab.foundry.card import floors, write_card
from lab.foundry.model import SIZES
from lab.foundry.train import save, train
from lab.records import LabError
from lab.runtime import choose_device, environment, quiet_libraries, versions
from lab.states import States
from lab.stopping import exit_code, install
from lab.store import JSON, digest
from lab.worlds.general import GeneralWorld

PLACE = Path("artifacts") / "foundry"


def build(name: str, seed: int, out: Path, device: str, tokens: int | None) -> dict[str, Any]:
    """Train, measure and write a model folder, whole or not at all; returns its card."""
    size = replace(SIZES[name], tokens=tokens) if tokens else SIZES[name]
    made_by = environment()
    key: dict[str, JSON] = {
        "size": asdict(size), "seed": seed, "device": device, "torch": versions()["torch"],
        "code": digest_code("lab.foundry.train"),
    }  # fmt: skip
    place = PLACE / f"{name}-{digest(key)[:8]}"
    model, tokenizer, reached = train(size, seed, device, States(place / "states", key), place / "stages")
    building = out.with_name(f".{out.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    save(model, tokenizer, building, reached)
    shutil.copytree(place / "stages", building / "stages")
    card = {
        "model": name,
        "command": f"python -m lab.foundry model={name} seed={seed} tokens={size.tokens}",
        "size": asdict(size),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **asdict(reached),
        "tokens_per_second": round(reached.tokens / reached.seconds),
        "environment": made_by,
        "general_world": digest({s: [asdict(f) for f in fs] for s, fs in GeneralWorld(size.subjects).facts.items()}),
        # As it will be loaded: the one in memory is compiled for the batches of its training.
        "floors": floors(BaseModel(str(building)).load(device), size.subjects),
    }
    write_card(building, card)
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
    shutil.rmtree(place)
    return card


def main() -> int:
    """Exit code 2 for a mistake in the options; 130 or 143 where somebody stopped it."""
    options: dict[str, Any] = {"model": "tiny", "seed": 0, "out": None, "device": "auto", "tokens": None}
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # Lessons are made in processes of their own.
    install()
    try:
        given = {str(name): value for name, value in OmegaConf.from_cli().items()}
        if unknown := set(given) - set(options):
            raise LabError(f"{', '.join(sorted(unknown))}: no such option; give {', '.join(options)} as name=value")
        options |= given
        if options["model"] not in SIZES:
            raise LabError(f"model={options['model']}: choose one of {', '.join(SIZES)}")
        for name in ("seed", "tokens"):
            if options[name] is not None and (not isinstance(options[name], int) or options[name] < 0):
                raise LabError(f"{name}={options[name]}: a whole number is needed")
        quiet_libraries()
        out = Path(options["out"] or EMBEDDED.parent / options["model"])
        card = build(options["model"], options["seed"], out, choose_device(options["device"]), options["tokens"])
    except LabError as error:
        print(f"lab.foundry: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print("lab.foundry: stopped; the same command goes on from here", file=sys.stderr)
        return exit_code(stopped)
    print(json.dumps(card["floors"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
