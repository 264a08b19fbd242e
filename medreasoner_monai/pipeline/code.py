"""Which of our code a stage's result depends on, and a digest of it.

The digest is information in the manifest, and what the test of stage versions compares; it is no part of a cache key,
so that a change of a plot's style or of a comment trains nothing again.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PACKAGE = "medreasoner_monai"
OBSERVERS = (
    "errors",
    "files",
    "pipeline",
    "settings",
    "training.curves",
    "training.failures",
    "training.follow",
    "training.launch",
    "training.observe",
    "training.track",
)
"""Modules that watch, store or explain, and settings, whose values are in the key."""


@functools.cache
def code_digest(*entries: str) -> str:
    """sha256 over the code that modules of this package reach by imports, without comments and docstrings.

    Parameters
    ----------
    entries:
        Such as ``training.grpo_worker``.
    """
    total = hashlib.sha256()
    for name in sorted(reach(entries)):
        total.update(f"{name}\x1f{_bare(_source(name))}\x1e".encode())
    return total.hexdigest()


def reach(entries: Iterable[str]) -> set[str]:
    """The modules and all that they import of this package, near and far, observers left out.

    A module named as a string (``"package.module"`` or ``"package.module:name"``) is reached too: it is imported on
    demand, or run in a process of its own.
    """
    seen: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in seen or _observes(name):
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(_source(name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
                module = node.module.removeprefix(PACKAGE).removeprefix(".")
                inner = [f"{module}.{a.name}".removeprefix(".") for a in node.names]
                waiting += [*([module] if module else []), *(m for m in inner if _exists(m))]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                waiting += _named(node.value)
    return seen


def _observes(name: str) -> bool:
    return any(name == o or name.startswith(f"{o}.") for o in OBSERVERS)


def _named(text: str) -> list[str]:
    package, dot, rest = text.partition(".")
    module = rest.partition(":")[0]
    return [module] if dot and package == PACKAGE and _exists(module) else []


def _root() -> Path:
    spec = find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _file(module: str) -> Path | None:
    base = _root().joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _exists(module: str) -> bool:
    return bool(module) and module.replace(".", "").isidentifier() and _file(module) is not None


def _source(module: str) -> Path:
    found = _file(module)
    if found is None:
        raise ModuleNotFoundError(f"{PACKAGE} has no module {module!r}")
    return found


@functools.cache
def _bare(path: Path) -> str:
    """The source's syntax tree as text, docstrings left out, and the YAML beside it; no formatting, no comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    beside = path.with_suffix(".yaml")  # the data that a module of the same name reads
    data = yaml.load(beside.read_bytes(), _Loader) if beside.is_file() else None
    return ast.dump(tree) + (json.dumps(data) if data is not None else "")
