"""What differs between two runs: settings, data, code and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.runs import RunRecord
from medreasoner_monai.pipeline.store import Store

Section = Literal["settings", "data", "code", "figures"]


@dataclass(frozen=True)
class Difference:
    """One value that differs; None on a side that does not have it."""

    section: Section
    name: str
    first: Any
    second: Any

    @property
    def change(self) -> float | None:
        """Second minus first, where both are numbers."""
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in (self.first, self.second)):
            return None
        return float(self.second) - float(self.first)


def compare_runs(first: RunRecord, second: RunRecord, store: Store) -> list[Difference]:
    """Every difference, by section.

    ``data`` compares the data set's digest and counts; ``code`` the version and code digest of each stage, and the
    versions of the libraries.
    """
    sections: dict[Section, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "settings": (flat(first.settings), flat(second.settings)),
        "data": (_data(first, store), _data(second, store)),
        "code": (_code(first, store), _code(second, store)),
        "figures": (_figures(first), _figures(second)),
    }
    return [
        Difference(section, name, a.get(name), b.get(name))
        for section, (a, b) in sections.items()
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name)
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names.

    >>> flat({"grpo": {"steps": 3, "loss": {"clip": 0.2}}, "name": "run"})
    {'grpo.steps': 3, 'grpo.loss.clip': 0.2, 'name': 'run'}
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def _figures(record: RunRecord) -> dict[str, Any]:
    return flat(record.figures) | ({"decision": record.decision} if record.decision else {})


def _data(record: RunRecord, store: Store) -> dict[str, Any]:
    result = record.artifacts.get("curate")
    if result is None:
        return {}
    found: dict[str, Any] = {"digest": result.ref.digest[:12]}
    artifact = _opened(result.ref.name, result.ref.digest, store)
    if artifact is not None:
        for split, facts in artifact.facts.get("splits", {}).items():
            found |= {f"{split} {name}": facts[name] for name in ("samples", "groups") if name in facts}
        found["rejects"] = artifact.facts.get("rejects")
    return found


def _code(record: RunRecord, store: Store) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stage, result in record.artifacts.items():
        artifact = _opened(result.ref.name, result.ref.digest, store)
        if artifact is not None:
            found[f"{stage} version"] = artifact.manifest.get("version")
            found[f"{stage} code"] = str(artifact.manifest.get("code", ""))[:12]
    return found | {f"package {name}": version for name, version in record.packages.items()}


def _opened(name: str, digest: str, store: Store) -> Artifact | None:
    """The local artifact, if it is still there; nothing is fetched for a comparison."""
    try:
        artifact = Artifact.open(store.root / name)
    except ArtifactError:
        return None
    return artifact if artifact.digest == digest else None
