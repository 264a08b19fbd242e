"""A workspace of version 0.1's first layout: what its last run left becomes a run like any other."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.runs import FIGURES, RunRecord, StageResult
from medreasoner_monai.pipeline.workspace import BUNDLE, GROUNDING, REPORT, SUMMARY, Workspace


def import_earlier(space: Workspace) -> str | None:
    """Take over the report, summary and bundle that an earlier version left at a workspace's top.

    Its artifacts stay where they are; they are listed with the run, and made again when a stage is asked for, since
    cache keys have changed.

    Returns
    -------
    The id of the run that was imported, or None where there is nothing to import.
    """
    summary_file = space.root / SUMMARY
    if summary_file.is_symlink() or not summary_file.is_file() or space.runs.ids():
        return None
    try:
        summary: dict[str, Any] = json.loads(summary_file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    record = _record(space, summary, datetime.fromtimestamp(summary_file.stat().st_mtime, UTC))
    folder = space.runs.folder(record.id)
    folder.mkdir(parents=True)
    if (space.root / GROUNDING).is_dir():
        shutil.copytree(space.root / GROUNDING, folder / GROUNDING)
    bundle = space.root / BUNDLE
    if bundle.is_symlink() and bundle.is_dir():
        space.publish_bundle(bundle.resolve())
    for name in (REPORT, SUMMARY):
        if (space.root / name).is_file():
            (space.root / name).rename(folder / name)
    space.runs.write(record)
    space.show_latest(record.id)
    return record.id


def _record(space: Workspace, summary: dict[str, Any], when: datetime) -> RunRecord:
    known = _by_digest(space.store.root)
    seconds = summary.get("seconds", {})
    artifacts = {
        stage: StageResult(ref=known[digest].ref, seconds=float(seconds.get(stage, 0)), reused=False)
        for stage, digest in summary.get("digests", {}).items()
        if digest in known
    }
    took = timedelta(seconds=sum(float(s) for s in seconds.values()))
    return RunRecord(
        id=f"{when:%Y%m%d-%H%M%S}-{summary.get('name', 'run')}-earlier",
        name=str(summary.get("name", "run")),
        chain="retrain",
        status="finished",
        started=(when - took).isoformat(timespec="seconds"),
        finished=when.isoformat(timespec="seconds"),
        started_by="unknown",
        trigger="imported from an earlier version's workspace",
        host="",
        pid=0,
        config="",
        artifacts=artifacts,
        decision=summary.get("decision"),
        reasons=list(summary.get("reasons", [])),
        figures={name: summary[name] for name in FIGURES if name in summary},
    )


def _by_digest(root: Path) -> dict[str, Artifact]:
    found = {}
    for path in root.glob("*/manifest.json"):
        if path.parent.suffix:
            continue  # .partial and the like
        try:
            artifact = Artifact.open(path.parent)
        except ArtifactError:
            continue
        found[artifact.digest] = artifact
    return found
