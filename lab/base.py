"""Base models: where one lies, what it depends on, and how it is loaded without running code or pickles by surprise."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from lab.framing import frame_of
from lab.model import LanguageModel, Model
from lab.model_folder import check_folder, read_settings, readable, tensor_elements
from lab.progress import step
from lab.records import LabError
from lab.runtime import choose_dtype, versions
from lab.store import JSON, MANIFEST, digest, digest_file

log = logging.getLogger(__name__)

KIND = "a causal language model"
# Of weights, configurations, templates, and whatever a tokenizer's vocabulary may lie in.
SUFFIXES = (
    *(".safetensors", ".json", ".jinja", ".txt", ".model"),
    *(".bpe", ".codes", ".spm", ".tiktoken", ".tokenizer", ".vocab"),
)
EMBEDDED = Path(__file__).parent / "assets" / "tiny"
DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTION = ("auto", "sdpa", "eager", "flash_attention_2")
QUANTIZE = (None, "8bit", "4bit")
# A model that makes some of its weights itself asks for somewhat more than its files hold; a hundred times is none.
MOST_UNHELD = 4
PACKED = 16  # So many quantised numbers may lie in one of a file's.


class Base(Protocol):
    """Where a base model is: a folder, a hub name, or a server."""

    @property
    def digest(self) -> str: ...

    def load(self, device: str) -> Model: ...

    def weights(self) -> BaseModel:
        """The base as weights that can be trained. LabError where they are out of reach."""
        ...


@dataclass(frozen=True)
class BaseModel:
    """Where a base model's weights are; nothing is loaded before `load`.

    path: a folder or a hub name, None is the embedded model. stage: a checkpoint on the way to it, below `stages` in
    its folder, None is its end. dtype: `auto`, `float32`, `bfloat16` or `float16`. chat: whether prompts go through the
    tokenizer's chat template; `auto` is where it has one. attention: `auto` (the model's own choice), `sdpa`, `eager`
    or `flash_attention_2`. quantize: None, `8bit` or `4bit`, through bitsandbytes.
    trust_remote_code: whether code that lies beside the weights may run.
    """

    path: str | None = None
    stage: str | None = None
    dtype: str = "auto"
    chat: bool | str = "auto"
    attention: str = "auto"
    quantize: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("dtype", self.dtype, DTYPES),
            ("chat", self.chat, ("auto", True, False)),
            ("attention", self.attention, ATTENTION),
            ("quantize", self.quantize, QUANTIZE),
            ("trust_remote_code", self.trust_remote_code, (True, False)),
        ):
            if [type(value), value] not in [[type(known), known] for known in allowed]:  # 1 is no true
                words = ", ".join(json.dumps(known).strip('"') for known in allowed)
                raise LabError(f"model.{name}={value}: choose {words}")

    @property
    def location(self) -> str:
        folder = Path(self.path or EMBEDDED)
        if self.stage is None:
            return str(self.path or EMBEDDED)
        if not (folder / "stages" / self.stage).is_dir():
            known = sorted(one.name for one in folder.glob("stages/*") if one.is_dir())
            raise LabError(f"model.stage={self.stage}: {folder} keeps {', '.join(known) or 'no stages'}")
        return str(folder / "stages" / self.stage)

    @property
    def name(self) -> str:
        """Of the folder without what lies above it, or on the hub."""
        return Path(self.location).name if Path(self.location).is_dir() else self.location

    @property
    def digest(self) -> str:
        """SHA-256 over the folder's weights, configuration, tokenizer and code, and over all that changes answers
        beside them; a hub name stands for itself.
        """
        changed: dict[str, JSON] = {
            name: value
            for name, value, usual in (
                ("chat", self.chat, "auto"),
                ("attention", self.attention, "auto"),
                ("quantize", self.quantize, None),
            )
            if value != usual
        }
        if self.quantize:
            changed["bitsandbytes"] = versions()["bitsandbytes"]
        folder = Path(self.location)
        if not folder.is_dir():
            return digest({"hub": self.location, **changed})
        self._check(folder)  # A pipe among its files would be read for ever.
        suffixes = [*SUFFIXES, *([".py"] if self.trust_remote_code else [])]
        # Not the manifest of weights that were trained here: it tells how long that took, and is never twice the same.
        read = [file for file in sorted(folder.iterdir()) if file.suffix in suffixes and file.name != MANIFEST]
        files: JSON = {file.name: digest_file(file) for file in read}
        return digest([files, changed] if changed else files)

    def weights(self) -> BaseModel:
        """Itself."""
        return self

    def moved(self, path: Path) -> BaseModel:
        """The same settings, with weights that lie elsewhere: trained ones."""
        return dataclasses.replace(self, path=str(path), stage=None)

    def load(self, device: str) -> LanguageModel:
        """Load the model. LabError where the folder is missing, holds no causal model in safetensors with its
        tokenizer, asks for code of its own that is not trusted, or a package that it needs is missing.
        """
        location = self.location
        folder = Path(location)
        if self.path and ("/" not in location or location.startswith((".", "/"))) and not folder.is_dir():
            raise LabError(f"model.path={location}: no such folder; give a folder with config.json or a hub name")
        if folder.is_dir():
            self._check(folder)
        with step("loading the model"):
            return self._load(location, device)

    def _load(self, location: str, device: str) -> LanguageModel:
        if self.trust_remote_code:
            log.warning("model.path=%s: code that lies beside the weights may run (trust_remote_code=true)", location)
        trust = {"trust_remote_code": self.trust_remote_code}  # Never left out: unset, transformers asks at a terminal.
        with readable(location, "model.path", KIND):
            AutoConfig.from_pretrained(location, **trust)
            tokenizer = AutoTokenizer.from_pretrained(location, **trust)
            model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
                location,
                dtype=choose_dtype(self.dtype, device),
                use_safetensors=True,
                attn_implementation=None if self.attention == "auto" else self.attention,
                **self._quantized(device),
                **trust,
            )
        if not tokenizer("text")["input_ids"]:  # transformers makes an empty one where the folder has none
            raise LabError(f"model.path={location}: no tokenizer there; save it beside the weights")
        if tokenizer.eos_token_id is None:
            raise LabError(f"model.path={location}: its tokenizer has no end-of-text token; set eos_token in it")
        if device == "cuda":
            # cuDNN's attention plans anew for every shape, and while answers grow each token has one of its own.
            torch.backends.cuda.enable_cudnn_sdp(False)
        if not self.quantize:  # Quantised weights are put in place while they are read.
            model.to(device)
        return LanguageModel(model, tokenizer, self.digest, frame=frame_of(tokenizer, self.chat))

    def _check(self, folder: Path) -> None:
        check_folder(folder, "model.path", self.trust_remote_code)
        held = tensor_elements(folder)
        if self.trust_remote_code or not held or not (folder / "config.json").is_file():
            return  # Code of its own may do anything; what is missing transformers says.
        settings = read_settings(folder / "config.json")
        if not isinstance(settings, dict):
            return
        # Before any memory is asked for: a model is made as large as its settings say, not as its weights are.
        layers = settings.get("num_hidden_layers", 0)
        possible = isinstance(layers, int) and layers <= len(held)
        asked = _parameters(folder) if possible else 0
        packed = PACKED if "quantization_config" in settings else 1
        if not possible or asked > MOST_UNHELD * packed * sum(held):
            raise LabError(
                f"model.path={folder}: config.json asks for a larger model ({layers} layers, {asked or 'too many'} "
                f"parameters) than its weights are ({len(held)} tensors, {sum(held)} numbers); copy the model again"
            )

    def _quantized(self, device: str) -> dict[str, Any]:
        if not self.quantize:
            return {}
        if importlib.util.find_spec("bitsandbytes") is None:
            raise LabError(
                f"model.quantize={self.quantize}: needs bitsandbytes; pip install 'open-book-exam-lab[quantize]'"
            )
        four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": choose_dtype(self.dtype, device)}
        bits = {"load_in_4bit": True, **four} if self.quantize == "4bit" else {"load_in_8bit": True}
        return {"quantization_config": BitsAndBytesConfig(**bits), "device_map": {"": device}}


def _parameters(folder: Path) -> int:
    """Of the model that config.json describes, none of which is made."""
    with readable(folder, "model.path", KIND), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return sum(parameter.numel() for parameter in model.parameters())
