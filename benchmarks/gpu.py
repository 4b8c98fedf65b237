"""All that only a GPU can show, in steps: `make gpu`, or `python benchmarks/gpu.py base exam` for some of them.

Every step ends within nine minutes, what is not done by then goes on when the step is asked for again, and what is done
is not done twice. `collect` copies the small files of all runs to results/NAME-OF-THE-GPU, with the commands.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

SECONDS = 530
BASE = Path("bases/small")
RUNS = Path("runs/gpu")
SIZE = ["hardware=gpu", "size=small"]
MANY_FACTS = ["hardware=gpu", "corpus.book.acts=480", "training.tokens=14000000", "training.device_rows=16"]
SMALL_FILES = ("metrics.json", "manifest.json", "costs.jsonl", "waits.jsonl", "training.jsonl")
TRAIN = ["benchmarks/train.py", "--device", "cuda", "--vocabulary", "128000", "--seconds", "4", "--sft-rows", "4"]
ANSWER = ["benchmarks/answer.py", "--device", "cuda", "--kinds", "mixed", "--rounds", "1"]
# Each a list of commands; a command is done where its mark is.
STEPS: dict[str, list[list[str]]] = {
    "train": [
        [*TRAIN, "--model", "125m"],
        [*TRAIN, "--model", "1b", "--rows", "16"],
        [*TRAIN, "--model", "350m"],
        [*TRAIN, "--model", "350m", "--rows", "8", "--row-tokens", "4096", "--only", "lab", "lab, dense mask"],
        [*TRAIN, "--model", "125m", "--rows", "2", "--row-tokens", "512", "--only", "lab", "Trainer"],
    ],
    "answer": [ANSWER, [*ANSWER, "--dtype", "bfloat16"], [*ANSWER, "--prompts", "100", "--cudnn"]],
    "encoder": [["benchmarks/encoder.py", "--device", "cuda"]],
    "embedded": [
        ["-m", "lab", "experiment=exam", *MANY_FACTS, f"seed={seed}", f"hydra.sweep.dir={RUNS}/embedded-{seed}"]
        for seed in range(3)
    ],
    "base": [["-m", "lab.foundry", "model=small", f"out={BASE}", "device=cuda", "tokens=600000000"]],
    "exam": [
        ["-m", "lab", "experiment=exam", *SIZE, f"seed={seed}", f"hydra.sweep.dir={RUNS}/exam-{seed}"]
        for seed in range(5)
    ],
    "known": [["-m", "lab", "experiment=known_answers", *SIZE, f"hydra.sweep.dir={RUNS}/known"]],
    "table": [["-m", "lab.report", *(f"{RUNS}/exam-{seed}" for seed in range(5)), "--csv", f"{RUNS}/comparison.csv"]],
}


def run(step: str, number: int, command: list[str], results: Path, until: float) -> bool:
    """Whether the command is done, now or before; what it printed stands in the results."""
    done = RUNS / f".{step}-{number}.done"
    if done.exists():
        return True
    told = results / f"{step}-{number}.txt"
    print(f"{step}: python {' '.join(command)}", flush=True)
    with told.open("a") as log:
        log.write(f"$ python {' '.join(command)}\n")
        log.flush()
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=subprocess.STDOUT)
        try:
            code = process.wait(max(1.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()  # It keeps what is done, and goes on from there.
            process.wait()
            print(f"{step}: not done yet; ask for it again")
            return False
    if code:
        print(f"{step}: exit code {code}; see {told}")
        return False
    done.touch()
    return True


def collect(results: Path) -> None:
    """The small files of all finished runs, each in a folder of its run's name, and the GPU they are of."""
    for manifest in RUNS.rglob("manifest.json"):
        to = results / "runs" / manifest.parent.relative_to(RUNS)
        to.mkdir(parents=True, exist_ok=True)
        for name in SMALL_FILES:
            if (manifest.parent / name).exists():
                shutil.copyfile(manifest.parent / name, to / name)
    for made in RUNS.glob("comparison.*"):
        shutil.copyfile(made, results / made.name)
    if (BASE / "card.json").exists():
        shutil.copyfile(BASE / "card.json", results / "base.json")
    board = torch.cuda.get_device_properties(0)
    known = {"name": board.name, "memory_gib": round(board.total_memory / 2**30, 1), "torch": torch.__version__}
    (results / "gpu.json").write_text(json.dumps(known, indent=2) + "\n")
    print(f"collected in {results}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "steps", nargs="*", default=[*STEPS, "collect"], help=f"of {', '.join([*STEPS, 'collect'])}; all"
    )
    given = parser.parse_args()
    if unknown := set(given.steps) - {*STEPS, "collect"}:
        parser.error(f"{', '.join(sorted(unknown))}: no such step; choose of {', '.join([*STEPS, 'collect'])}")
    if not torch.cuda.is_available():
        print(
            "benchmarks/gpu.py: torch finds no CUDA device here; results/README.md says what is to be measured on one"
        )
        return 2
    results = Path("results") / torch.cuda.get_device_name().replace(" ", "-")
    for folder in (results, RUNS):
        folder.mkdir(parents=True, exist_ok=True)
    for step in given.steps:
        until = time.monotonic() + SECONDS
        if step == "collect":
            collect(results)
        elif not all(run(step, number, command, results, until) for number, command in enumerate(STEPS[step])):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
