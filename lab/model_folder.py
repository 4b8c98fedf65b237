"""What can be told of a model's folder before anything in it is run, or read as weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lab.records import LabError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MAX_SETTINGS_BYTES = 16 << 20  # Of a file of settings: the longest known ones have some hundred kB.
MODULE = re.compile(r"sentence_transformers\.([a-z_]+\.)*(models|modules)\.[\w.]+$")
SETTINGS = ("config.json", "tokenizer_config.json", "generation_config.json", "modules.json", "*.index.json")


def check_folder(folder: Path, setting: str, trust_remote_code: bool = False) -> None:
    """LabError, naming the file and the mend, where a model folder brings code or is none that can be read safely.

    setting: what the folder was given as, such as `model.path`. Refused are pickled weights without safetensors beside
    them, settings that ask for code of their own (`auto_map`; unless trusted), adapters, indexes that name files
    elsewhere, headers of weights that are no headers, and what is no file at all: a pipe would never end.
    """

    def refuse(reason: str) -> LabError:
        return LabError(f"{setting}={folder}: {reason}")

    for path in folder.rglob("*"):
        if not path.is_dir() and not path.is_file():
            raise refuse(f"{path.name} is no file, or a link to nothing; copy the model again")
    if not any(folder.glob("*.safetensors")) and any(file for kind in PICKLED for file in folder.glob(kind)):
        raise refuse(
            "its weights are pickled, and reading them can run any code; save them as safetensors "
            "(model.save_pretrained) where you trust them"
        )
    if (folder / "adapter_config.json").exists():
        raise refuse("holds an adapter, whose base lies elsewhere; merge it into its base and save that")
    for file in sorted({file for name in SETTINGS for file in folder.rglob(name)}):
        settings = read_settings(file)
        if not trust_remote_code and "auto_map" in _keys(settings):
            trusting = " and set model.trust_remote_code=true if you trust it" if setting == "model.path" else ""
            raise refuse(
                f"{file.name} asks for code of its own (auto_map), which is not run; read that code{trusting}, or take "
                "auto_map out"
            )
        if file.name == "modules.json":
            # Older releases import whatever class a local folder names, even with trust_remote_code off.
            foreign = [name for name in _types(settings) if not MODULE.match(name)]
            if foreign:
                raise refuse(f"modules.json: {foreign[0]} is code from outside the library; choose another model")
        for name in _named(settings) if file.name.endswith(".index.json") else ():
            if not _beside(name, file.parent):
                raise refuse(f"{file.name} names {name}, which is no safetensors file beside it; copy the model again")
    for file in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy"):
                pass  # The header is checked against the file's length.
        except (SafetensorError, OSError) as error:
            raise refuse(f"{file.name} is no whole safetensors file ({error}); copy the model again") from None


def tensor_elements(folder: Path) -> list[int]:
    """How many numbers each tensor in a folder's safetensors files has, from their headers alone."""
    elements = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no dict.
                count = 1
                for size in weights.get_slice(name).get_shape():
                    count *= size
                elements.append(count)
    return elements


@contextmanager
def readable(location: object, setting: str, what: str) -> Iterator[None]:
    """Whatever a library raises over files that somebody else made is told in one line, as a LabError."""
    try:
        yield
    except LabError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LabError(f"{setting}={location}: cannot be loaded as {what}: {reason}") from error


def read_settings(file: Path) -> Any:
    """A JSON file of a model. LabError where it is too large, nested too deeply, or no JSON."""
    if file.stat().st_size > MAX_SETTINGS_BYTES:
        raise LabError(f"{file}: larger than {MAX_SETTINGS_BYTES >> 20} MiB; copy the model again")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise LabError(f"{file}: nested too deeply; copy the model again") from None
    except ValueError as error:
        raise LabError(f"{file}: not JSON ({error}); copy the model again") from None


def _keys(value: Any) -> Iterator[str]:
    """All keys at any depth."""
    if isinstance(value, dict):
        yield from value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(part)


def _named(settings: Any) -> list[str]:
    """The files that an index of weights names."""
    names = settings.get("weight_map") if isinstance(settings, dict) else None
    return sorted({str(name) for name in names.values()}) if isinstance(names, dict) else ["nothing"]


def _types(settings: Any) -> list[str]:
    """The classes that a list of modules names."""
    modules = settings if isinstance(settings, list) else [settings]
    return [str(module.get("type")) if isinstance(module, dict) else "nothing" for module in modules]


def _beside(name: str, folder: Path) -> bool:
    return Path(name).name == name and name.endswith(".safetensors") and (folder / name).is_file()
