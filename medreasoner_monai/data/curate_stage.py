"""The curate stage: sources in, train / val / test in the U-MRG schema out, and a table of what was set aside."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai.data.questioning import phantom_samples
from medreasoner_monai.data.schema import Sample, read_ids, write_split
from medreasoner_monai.data.sources import Ids, Reject, parquet_samples
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest, write_json
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.config import ParquetSource, PhantomSource

SPLITS = ("train", "val", "test")
REJECTS = "rejects.parquet"
STAGE = Stage(
    "curate",
    "dataset",
    version=2,
    code=("data.sources", "data.questioning", "data.schema"),
    libraries=("numpy", "pillow", "pyarrow", "opencv-python-headless"),
)
SYNTHETIC = (
    "Synthetic phantoms drawn by this software, with exact masks. No patient was involved; figures on them say how "
    "the chain works, not how it would do on patients."
)


def curate(context: Context) -> Artifact:
    """The dataset artifact: ``train.parquet``, ``val.parquet``, ``test.parquet`` and ``rejects.parquet``."""
    source = context.settings.data.source
    settings: dict[str, Any] = source.model_dump(mode="json")
    if isinstance(source, ParquetSource):
        for name in SPLITS:
            path = getattr(source, name)
            settings[name] = None if path is None else _digest(path)

    def make(draft: Draft, watch: ProgressReporter) -> None:
        curate_into(draft, source, watch)

    return context.stage(STAGE, make, inputs={}, settings=settings)


def curate_into(draft: Draft, source: PhantomSource | ParquetSource, watch: ProgressReporter) -> None:
    """Write the splits into a draft; a split that an earlier attempt finished is kept.

    An id is one sample's in the whole data set: what has that of an earlier row or split becomes a reject.

    Raises
    ------
    InputError
        If a split ends up without samples.
    """
    rejects: list[Reject] = []
    facts: dict[str, Any] = {}
    for split in SPLITS:
        path, note = draft.path / f"{split}.parquet", draft.scratch / f"{split}.json"
        if not (path.is_file() and note.is_file()):
            tally = _Tally(split, watch, getattr(source, split) if isinstance(source, PhantomSource) else 0)
            before = SPLITS[: SPLITS.index(split)]
            ids = Ids({name: f"the {s} split" for s in before for name in read_ids(draft.path / f"{s}.parquet")})
            write_split(path, tally.count(_samples(source, split, ids)))
            write_json(note, {"facts": tally.facts(), "rejects": [[r.where, r.reason] for r in tally.rejects]})
        saved = json.loads(note.read_text(encoding="utf-8"))
        facts[split] = saved["facts"]
        refused = [Reject(*r) for r in saved["rejects"]]
        rejects += refused
        if split != "val" and not facts[split]["samples"]:
            first = f"; the first was set aside because: {refused[0].reason}" if refused else ""
            raise InputError(f"no sample is left in {split}{first}")
    table = pa.table({"where": [r.where for r in rejects], "reason": [r.reason for r in rejects]})
    pq.write_table(table, draft.path / REJECTS)
    synthetic = isinstance(source, PhantomSource)
    draft.facts.update(
        splits=facts, rejects=len(rejects), synthetic=synthetic, description=SYNTHETIC if synthetic else "U-MRG files"
    )
    if rejects:
        watch.note(f"{len(rejects)} samples set aside, see {REJECTS}")


def _samples(source: PhantomSource | ParquetSource, split: str, ids: Ids) -> Iterable[Sample | Reject]:
    if isinstance(source, PhantomSource):
        return phantom_samples(
            split,
            getattr(source, split),
            sites=source.sites,
            per_phantom=source.questions_per_phantom,
            seed=source.seed,
            categories=source.categories,
            absent_share=source.absent_share,
            workers=min(os.cpu_count() or 1, 8),
        )
    path: Path | None = getattr(source, split)
    if path is not None and (split != "train" or source.val is not None):
        return parquet_samples(path, ids=ids)
    wants_val, share = split == "val", source.val_share

    def keep(sample: Sample) -> bool:
        return in_val(sample.group or sample.id, share) == wants_val

    # A row that cannot be read belongs to no group; it is reported once, with train.
    return parquet_samples(source.train, ids=ids, keep=keep, unreadable=not wants_val)


def in_val(group: str, share: float) -> bool:
    """A fixed share of the groups, chosen by a digest of the group's name, so that adding data moves nothing."""
    return zlib.crc32(group.encode()) / 2**32 < share


class _Tally:
    """Counts samples on their way through, and keeps the rejects."""

    def __init__(self, split: str, watch: ProgressReporter, total: int) -> None:
        self.split, self.watch, self.total = split, watch, total
        self.rejects: list[Reject] = []
        self.groups: set[str] = set()
        self.counts: dict[str, Counter[str]] = {n: Counter() for n in ("category", "supercategory", "modality")}
        self.samples = 0
        self.absent: Counter[str] = Counter()

    def count(self, stream: Iterable[Sample | Reject]) -> Iterator[Sample]:
        for item in stream:
            if isinstance(item, Reject):
                self.rejects.append(item)
                continue
            self.samples += 1
            self.groups.add(item.group or item.id)
            if not item.present:
                self.absent[item.absent or "unspecified"] += 1
            for name, counter in self.counts.items():
                counter[getattr(item, name)] += 1
            if self.samples % 16 == 0 or self.samples == self.total:
                self.watch.step(self.samples, max(self.total, self.samples))
            yield item

    def facts(self) -> dict[str, Any]:
        names = {"category": "categories", "supercategory": "supercategories", "modality": "modalities"}
        counts = {names[n]: dict(sorted(c.items())) for n, c in self.counts.items()}
        absent = {"absent": dict(sorted(self.absent.items()))} if self.absent else {}
        return {"samples": self.samples, "groups": len(self.groups), **counts, **absent}


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"the data file {path} cannot be read: {error.strerror}") from None
