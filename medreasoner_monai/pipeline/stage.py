"""What every stage shares: find the artifact made before, or make it."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medreasoner_monai.pipeline.artifacts import Artifact, Draft, Store

PACKAGE = "medreasoner_monai"
# What these hold is part of a key by itself (settings), or decides no result (errors, progress, alarms).
_NOT_CODE = {
    f"{PACKAGE}.{name}"
    for name in (
        "config", "config_training", "errors", "watch", "stage", "artifacts", "processes", "training.follow"
    )
}  # fmt: skip


def run_stage(
    store: Store,
    kind: str,
    make: Callable[[Draft], None],
    *,
    inputs: Mapping[str, Artifact],
    settings: Any,
    reused: Callable[[Artifact], None] | None = None,
) -> Artifact:
    """The artifact of ``kind`` from these inputs and settings: the one made before, or a new one from ``make``.

    The code that counts is the module ``make`` was defined in and all of this project that it imports.
    """
    digests = {name: artifact.digest for name, artifact in inputs.items()}
    code = code_digest(make.__module__)
    key = store.key(kind, digests, settings, code)
    found = store.find(kind, key)
    if found is not None:
        if reused is not None:
            reused(found)
        return found
    with store.make(kind, key, digests, settings, {"code": code}) as draft:
        make(draft)
    made = store.find(kind, key)
    assert made is not None
    return made


@functools.cache
def code_digest(module: str) -> str:
    """sha256 over the sources of a module of this project and of the project's modules it imports, near and far."""
    total = hashlib.sha256()
    for name in sorted(_reach(module)):
        total.update(f"{name}\x1f".encode() + _source(name).read_bytes())
    return total.hexdigest()


def _reach(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name in _NOT_CODE:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(_source(name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
                waiting += [node.module] + [
                    f"{node.module}.{a.name}" for a in node.names if _exists(node.module, a.name)
                ]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_module(node.value):
                waiting.append(node.value)  # one that is run in a process of its own
    return seen


def _is_module(text: str) -> bool:
    parent, dot, name = text.rpartition(".")
    return (
        bool(dot) and parent.split(".")[0] == PACKAGE and text.replace(".", "").isidentifier() and _exists(parent, name)
    )


@functools.cache
def _source(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, module
    return Path(spec.origin)


def _exists(package: str, name: str) -> bool:
    source = _source(package)
    if source.name != "__init__.py":
        return False
    return (source.parent / f"{name}.py").is_file() or (source.parent / name / "__init__.py").is_file()
