"""From shards to a data set: ids are made unique, patients are given their split, and what was made is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai.data.entry import repeated_id
from medreasoner_monai.data.fingerprints import FIELDS, Fingerprint
from medreasoner_monai.data.firewall import REPORT, Firewall, Place
from medreasoner_monai.data.rejects import Ids, Reject
from medreasoner_monai.data.review.applied import Reviews
from medreasoner_monai.data.schema import SCHEMA, TableFile
from medreasoner_monai.data.shards import REJECT_SCHEMA, Shard, read_rejects, read_shard
from medreasoner_monai.data.splits import LEDGER, SPLITS, Assignment, Groups, assign, read_ledger, write_ledger
from medreasoner_monai.files import write_json
from medreasoner_monai.settings.data import DataSettings

REJECTS = "rejects.parquet"
_DIVIDING = ("group", "modality", "category")
_COUNTED = {"category": "categories", "supercategory": "supercategories", "modality": "modalities"}


@dataclass
class _Counts:
    """What a split holds."""

    samples: int = 0
    groups: set[str] = field(default_factory=set)
    names: dict[str, Counter[str]] = field(default_factory=lambda: {n: Counter() for n in _COUNTED})
    absent: Counter[str] = field(default_factory=Counter)

    def add(self, row: dict[str, Any]) -> None:
        info = row["extra_info"]
        self.samples += 1
        self.groups.add(info["group"])
        if _absent(row):
            self.absent[info["absent"] or "unspecified"] += 1
        for name, counter in self.names.items():
            counter[info[name] or ""] += 1

    def facts(self) -> dict[str, Any]:
        counts = {_COUNTED[n]: dict(sorted(c.items())) for n, c in self.names.items()}
        absent = {"absent": dict(sorted(self.absent.items()))} if self.absent else {}
        return {"samples": self.samples, "groups": len(self.groups), **counts, **absent}


def _absent(row: dict[str, Any]) -> bool:
    return json.loads(row["reward_model"]["ground_truth"])["bbox_2d"] is None


@dataclass(frozen=True)
class Assembled:
    """Counts by split, what the assembly itself set aside, groups by the rule that divided them, and leaks by kind."""

    facts: dict[str, Any]
    rejects: list[Reject]
    groups: dict[str, int]
    leaks: dict[str, int]


def assemble(
    shards: Sequence[Shard], folder: Path, settings: DataSettings, scratch: Path, reviews: Reviews | None = None
) -> Assembled:
    """Write the splits, the rejects, the ledger of groups and the firewall's report.

    An id is one sample's in the whole data set: a later sample with the same one is a reject. Reviewers' verdicts are
    applied to what is left.

    Parameters
    ----------
    scratch:
        For the firewall's index.

    Raises
    ------
    InputError
        If splits share what they may not (:mod:`~medreasoner_monai.data.firewall`), or a group would move against the
        ledger.
    """
    ledger = read_ledger(settings.splits)
    groups = assign(_groups(shards), settings.splits, ledger)
    counts = {split: _Counts() for split in SPLITS}
    rejects: list[Reject] = []
    with ExitStack() as stack:
        writers = {split: stack.enter_context(TableFile(folder / f"{split}.parquet", SCHEMA)) for split in SPLITS}
        firewall = stack.enter_context(Firewall(scratch / "firewall"))
        for split, where, row in _unique(shards, groups, rejects, reviews):
            prints = Fingerprint.from_columns({field.name: row.pop(field.name) for field in FIELDS})
            info = row["extra_info"]
            firewall.add(Place(split, where, info["id"]), info["group"], _origin(info).get("study", ""), prints)
            counts[split].add(row)
            writers[split].add(row)
        report = firewall.report(settings.firewall.allow)
    _write_rejects(folder / REJECTS, shards, rejects)
    write_ledger(folder / LEDGER, groups, settings.splits, ledger)
    write_json(folder / REPORT, report.as_dict())
    report.check()
    return Assembled(
        {split: found.facts() for split, found in counts.items()}, rejects, groups.counts(), report.as_dict()["leaks"]
    )


def _groups(shards: Sequence[Shard]) -> Groups:
    """What each group holds, from the shards' small columns."""
    groups = Groups()
    for shard in shards:
        with pq.ParquetFile(shard.rows) as file:
            for batch in file.iter_batches(columns=["split", *(f"extra_info.{n}" for n in _DIVIDING)]):
                for row in batch.to_pylist():
                    info = row["extra_info"]
                    groups.add(
                        info["group"],
                        source=shard.source.name,
                        modality=info["modality"] or "",
                        category=info["category"] or "",
                        split=row["split"],
                    )
    return groups


def _origin(info: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(info["origin"]) if info["origin"] else {}
    return found


_Mask = tuple[str, str, str]  # the picture's id, the mask's place, and its name


@dataclass
class _Late:
    """What a shard loses when it is assembled. A mask that was asked about twice is lost with its last question."""

    kept: set[_Mask] = field(default_factory=set)
    pending: list[tuple[_Mask, Reject]] = field(default_factory=list)

    def keep(self, mask: _Mask, *, present: bool) -> None:
        if present:
            self.kept.add(mask)

    def reject(self, mask: _Mask, made: Reject) -> None:
        self.pending.append((mask, made))

    def rejects(self) -> Iterator[Reject]:
        counted = set(self.kept)
        for mask, made in self.pending:
            yield replace(made, masks=int(made.masks > 0 and mask not in counted))
            if made.masks:
                counted.add(mask)


def _unique(
    shards: Sequence[Shard], groups: Assignment, rejects: list[Reject], reviews: Reviews | None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    ids = Ids()
    pictures: dict[tuple[str, str], int] = {}  # by source and id; of one shard they were told apart when it was made
    for shard in shards:
        late = _Late()
        for row in read_shard(shard):
            where, split, named, picture = (row.pop(name) for name in ("where", "split", "named", "picture"))
            info = row["extra_info"]
            mask, masks = (picture, where, info["category"] or ""), int(not _absent(row))
            if picture and pictures.setdefault((shard.source.name, picture), shard.number) != shard.number:
                late.reject(mask, Reject(where, repeated_id(picture, shard.source.name), "assemble", masks=masks))
                continue
            reason = ids.refuse(info["id"], where)
            if reason is not None and named:
                late.reject(mask, Reject(where, reason, "assemble", masks=masks))
                continue
            if reason is not None:  # a file of the same name, in another folder
                info["id"] = ids.free(info["id"])
                ids.refuse(info["id"], where)
            if reviews and (reason := reviews.apply(row, where)):
                late.reject(mask, Reject(where, reason, "review", masks=masks))
                continue
            late.keep(mask, present=bool(masks))
            yield split or groups.split[info["group"]], where, row
        rejects += late.rejects()


def _write_rejects(path: Path, shards: Sequence[Shard], more: Sequence[Reject]) -> None:
    with pq.ParquetWriter(path, REJECT_SCHEMA) as writer:
        for table in read_rejects(shards):
            writer.write_table(table)
        rows = [asdict(r) | {"source": ""} for r in more]
        writer.write_table(pa.Table.from_pylist(rows, REJECT_SCHEMA))
