"""What can be told of a model's folder before anything in it is run, or read as weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lab.records import LabError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MAX_SETTINGS_BYTES = 16 << 20  # Of a file of settings: the longest known ones have some hundred kB.
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
    if not any(folder.rglob("*.safetensors")) and any(file for kind in PICKLED for file in folder.rglob(kind)):
        raise refuse(
            "its weights are pickled, and reading them can run any code; save them as safetensors "
            "(model.save_pretrained) where you trust them"
        )
    if (folder / "adapter_config.json").exists():
        raise refuse("holds an adapter, whose base lies elsewhere; merge it into its base and save that")
    for file in sorted({file for name in SETTINGS for file in folder.rglob(name)}):
        settings = read_settings(file)
        if not trust_remote_code and "auto_map" in _keys(settings):
            raise refuse(
                f"{file.name} asks for code of its own (auto_map), which is not run; read that code and set "
                "model.trust_remote_code=true if you trust it, or take auto_map out"
            )
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


def _beside(name: str, folder: Path) -> bool:
    return Path(name).name == name and name.endswith(".safetensors") and (folder / name).is_file()
