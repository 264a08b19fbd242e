"""What a folder of data outlines, by name, without reading a picture; and which of it the taxonomy does not know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from medreasoner_monai.data.splits import SPLITS
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.taxonomy import resolve
from medreasoner_monai.task.taxonomy_names import plain


class NamedTarget(NamedTuple):
    """A name that a source uses, where, and on how many masks (0 where only a list of labels says it)."""

    name: str
    source: str
    site: str
    masks: int


def targets_in(folder: Path) -> list[NamedTarget]:
    """The names of targets in a folder, or in the folders inside it.

    They are read off masks named ``<id>_<modality>_<site>_<target>.png``, the labels of a ``dataset.json`` (MSD,
    nnU-Net), and the categories of COCO files.

    Raises
    ------
    InputError
        If there is nothing of the kind.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    here = [*_in(folder)]
    if not here:
        here = [target for inner in sorted(folder.iterdir()) if inner.is_dir() for target in _in(inner)]
    if not here:
        raise InputError(
            f"{folder} names no targets: masks/<id>_<modality>_<site>_<target>.png, a dataset.json with labels or a "
            "COCO file with categories is expected, in it or in its folders"
        )
    return here


def _in(folder: Path) -> Iterator[NamedTarget]:
    counts: Counter[tuple[str, str]] = Counter()
    for path in (folder / "masks").glob("*.png"):
        parts = path.stem.split("_")
        if len(parts) > 3:
            counts[plain(parts[-1]), parts[-2]] += 1
    name = folder.resolve().name
    yield from (NamedTarget(target, name, site, n) for (target, site), n in sorted(counts.items()))
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            yield from (NamedTarget(plain(label), name, "", 0) for label in _labels(content))


def _labels(content: Mapping[str, Any]) -> Iterator[str]:
    """Names in ``labels``, either way round (MSD numbers to names, nnU-Net names to numbers), or in COCO's list."""
    labels = content.get("labels")
    if isinstance(labels, dict):
        found = [str(v if isinstance(v, str) else k) for k, v in labels.items()]
        yield from (label for label in found if label.lower() not in ("background", "ignore"))
    categories = content.get("categories")
    if isinstance(categories, list):
        yield from (str(c["name"]) for c in categories if isinstance(c, dict) and "name" in c)


def unknown_targets(dataset: Path) -> dict[str, int]:
    """Categories in a curated data set that the taxonomy does not know, and how many samples each has.

    Parameters
    ----------
    dataset : Path
        Folder with ``train.parquet``, ``val.parquet`` and ``test.parquet``; those that are not there are passed over.

    Returns
    -------
    Counts by name, the most frequent first. Nothing is missing from the data set because of it: unknown targets are
    kept under the name that their source gives them, coded generically.
    """
    counts: Counter[str] = Counter()
    for path in (dataset / f"{split}.parquet" for split in SPLITS):
        if path.is_file():
            for batch in pq.ParquetFile(path).iter_batches(columns=["extra_info.category"]):
                names = pc.struct_field(batch.column("extra_info"), "category")
                counts.update({one["values"]: one["counts"] for one in pc.value_counts(names).to_pylist()})
    unknown = {name: n for name, n in counts.items() if name and resolve(name) is None}
    return dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0])))
