"""The house plan, read from the code: imports point down, light floors stay light, every YAML builds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

ROOT = Path(__file__).parent.parent
FLOORS = {
    "records": 0, "ledger": 0, "meter": 0, "store": 0, "runtime": 0, "workspace": 0, "progress": 0, "muon": 0,
    "bounded": 0, "ranks": 0, "states": 0, "stopping": 0, "secret": 0, "routes": 0, "code": 0,
    "corpus": 1, "exam": 1, "worlds": 1,
    "adapt": 2, "context": 2, "base": 2, "model": 2, "framing": 2, "model_folder": 2, "scoring": 2, "decoding": 2,
    "served": 2, "packing": 2, "curriculum": 2, "flops": 2, "loss": 2, "attention": 2, "low_rank": 2,
    "student": 3, "pipeline": 3,
    "judge": 4, "report": 4,
    "__main__": 5, "run": 5, "grade": 5, "search": 5, "practice": 5, "foundry": 5, "quiz": 5, "arms": 5, "verify": 5,
    "tracking": 5,
}  # fmt: skip
# The judge and the report look at records only: they must be free to judge answers that no student of ours gave.
APART = {"judge": {"records", "judge"}, "report": {"records", "ledger", "progress", "judge", "report"}}


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def files() -> list[Path]:
    return sorted((ROOT / "lab").rglob("*.py"))


def test_imports_point_down():
    for file in files():
        room = file.relative_to(ROOT / "lab").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for module in (m for m in imports(file) if m.startswith("lab.")):
            below = module.split(".")[1]
            assert FLOORS[below] <= FLOORS[room], f"{file} imports {module}, which is above it"
            assert below in APART.get(room, FLOORS), f"{file} imports {module}"


FORBIDDEN_IMPORTS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def dangers(source: str) -> list[str]:
    """What a text of code does that could run what was only data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [name for name in names if name.split(".")[0] in FORBIDDEN_IMPORTS]
        elif isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if call in FORBIDDEN_CALLS:
                found.append(call)
            if call == "torch.load" and given.get("weights_only") != "True":
                found.append(f"{call} without weights_only=True")
            found += [
                f"{name}=True" for name in ("allow_pickle", "trust_remote_code", "shell") if given.get(name) == "True"
            ]
    return found


def test_nothing_that_was_only_data_is_run():
    """Everything under lab/, and the check itself on what it is there to find."""
    assert {str(file): found for file in files() if (found := dangers(file.read_text()))} == {}
    for bad in (
        "import pickle", "from dill import loads", "import joblib.pool", "eval(x)", "yaml.load(f)", "torch.load(f)",
        "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "os.system(x)",
        "subprocess.run(x, shell=True)", "AutoModel.from_pretrained(x, trust_remote_code=True)",
    ):  # fmt: skip
        assert dangers(bad), bad
    assert dangers("torch.load(f, weights_only=True); yaml.safe_load(f); json.load(f)") == []


def test_only_the_command_line_knows_hydra():
    assert [f.name for f in files() if any(m.split(".")[0] == "hydra" for m in imports(f))] == ["__main__.py"]


def test_light_floors_need_no_torch():
    code = (
        "import sys, lab.records, lab.ledger, lab.store, lab.runtime, lab.workspace, lab.report, lab.worlds.statutes;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


NEEDED = {
    "corpus": dict.fromkeys(("folder", "jsonl", "hub", "squad"), "corpus.path=x"),
    "exam": dict.fromkeys(("jsonl", "squad", "csv_choice"), "exam.path=x"),
    "general": {"tasks": "general.tasks=[x]"},
    "model": {"openai": "model.url=http://127.0.0.1:1/v1 model.name=x"},
    "replay": {"folder": "replay.path=x"},
}
GROUPS = ("pipeline", "model", "corpus", "exam", "general", "replay")
CASES = [(group, c) for group in GROUPS for c in choices(group)]


@pytest.mark.parametrize(("group", "choice"), CASES)
def test_every_choice_builds(group, choice):
    extra = NEEDED.get(group, {}).get(choice, "").split()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=[f"{group}={choice}", *extra])
        instantiate(config[group])


@pytest.mark.parametrize(
    "axis", ["adapt@pipeline.adaptation", "context@pipeline.context", "retriever@pipeline.context.retriever"]
)
def test_every_point_of_the_axes_builds_by_override(axis):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for choice in choices(axis.split("@")[0]):
            instantiate(compose("config", overrides=[f"{axis}={choice}"]).pipeline)


@pytest.mark.parametrize("choice", ["hardware=auto", "hardware=cpu", "hardware=gpu", "size=small"])
def test_a_size_and_hardware_are_of_the_whole_run(choice):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=[choice])
    group, name = choice.split("=")
    if group == "hardware":
        assert config.device == {"auto": "auto", "cpu": "cpu", "gpu": "cuda"}[name]
    else:
        assert sum(len(section.facts) for section in instantiate(config.corpus.book).book) > 5000
        assert instantiate(config.world).subjects == 20_000
    assert choices("hardware") == ["auto", "cpu", "gpu"]
    assert choices("size") == ["small"]


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_composes(experiment):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=[f"experiment={experiment}"], return_hydra_config=True)
    for pipeline in ((config.hydra.sweeper.params or {}).get("pipeline") or "rag").split(","):
        assert pipeline in choices("pipeline")
