"""What code a kept thing was made by: the digest of modules and of all that they import."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

from lab.store import digest

# Modules that hold, time, tell and check, and make nothing: another code of theirs makes nothing anew.
PLUMBING = {
    *("lab.bounded", "lab.ledger", "lab.meter", "lab.model_folder", "lab.progress", "lab.records", "lab.states"),
    *("lab.stopping", "lab.store", "lab.workspace"),
}


@functools.cache
def digest_code(*modules: str) -> str:
    """SHA-256 over what modules of this package, and all of it that they import, do: their syntax without comments,
    docstrings and layout, 64 hex digits. In a key it stands for the code that would make the thing now, so that nobody
    need remember to say that it is another. Modules in `PLUMBING` are left out.
    """
    found: dict[str, str] = {}
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        tree = _syntax(module)
        found[module] = ast.dump(tree)
        waiting |= _imported(tree) - found.keys() - PLUMBING
    return digest(found)


def _syntax(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            del node.body[: ast.get_docstring(node, clean=False) is not None]
    return tree


def _imported(tree: ast.Module) -> set[str]:
    """Names of this package's modules that a module imports, anywhere in it."""
    package = __name__.split(".", 1)[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] == package and _is_module(name)}


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # A name of a module that is no package.
        return False
