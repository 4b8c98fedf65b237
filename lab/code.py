"""What code a kept thing was made by: the digest of modules and of all that they import."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from lab.store import digest

ROOT = Path(__file__).parent
# Modules that hold, time, tell and check, and make nothing: another code of theirs makes nothing anew.
PLUMBING = {
    *("lab.bounded", "lab.code", "lab.ledger", "lab.meter", "lab.model_folder", "lab.progress", "lab.records"),
    *("lab.states", "lab.stopping", "lab.store", "lab.workspace"),
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


@functools.cache
def digest_package() -> str:
    """The same of every module of this package but the reports, which are made anew of a run whenever it is read."""
    files = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}
    return digest({name: ast.dump(_parsed(path)) for name, path in files.items() if not name.startswith("report/")})


def _syntax(module: str) -> ast.Module:
    file = _file(module)
    assert file is not None
    return _parsed(file)


def _parsed(file: Path) -> ast.Module:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            del node.body[: ast.get_docstring(node, clean=False) is not None]
    return tree


def _imported(tree: ast.Module) -> set[str]:
    """Names of this package's modules that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if _file(name) is not None}


def _file(module: str) -> Path | None:
    """Where a module of this package stands; None for a name that is none. Nothing is imported for it."""
    first, *rest = module.split(".")
    path = ROOT.joinpath(*rest)
    files = [path / "__init__.py", path.with_suffix(".py")]
    return next((file for file in files if first == ROOT.name and file.is_file()), None)
