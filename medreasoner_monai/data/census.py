"""What a data set holds, counted in one pass over its rows without reading a picture.

Memory grows with the number of patients, sources and categories, not with the number of samples.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai.data.draw import Draw
from medreasoner_monai.data.sample import is_image_group
from medreasoner_monai.data.splits import SPLITS
from medreasoner_monai.errors import InputError

REJECTS = "rejects.parquet"
NO_SOURCE = "not stated"
"""The source of samples whose origin is unknown."""
_COLUMNS = ["extra_info", "reward_model"]
_ROWS = 4096  # read at a time; they have no pictures
_THUMBNAILS = 512  # rejects read at a time, whose pictures are small


@dataclass(frozen=True)
class Place:
    """A row of a split's file; both numbers count from 0."""

    split: str
    row: int


@dataclass
class Tally:
    """Samples and patients of a split, a source or a modality."""

    samples: int = 0
    absent: int = 0
    traces: int = 0
    spacings: int = 0
    groups: set[str] = field(default_factory=set)
    categories: set[str] = field(default_factory=set)

    @property
    def image_groups(self) -> int:
        """Groups that stand for a picture, because its patient is unknown."""
        return sum(map(is_image_group, self.groups))

    def add(self, info: Mapping[str, str | None], *, absent: bool) -> None:
        """Count a row."""
        self.samples += 1
        self.absent += absent
        self.traces += bool(info["trace"])
        self.spacings += bool(info.get("spacing"))
        self.groups.add(info["group"] or "")
        self.categories.add(info["category"] or "")

    def facts(self) -> dict[str, int]:
        """JSON-able, without a name of any patient."""
        return {
            "samples": self.samples,
            "absent": self.absent,
            "patients": len(self.groups) - self.image_groups,
            "pictures_of_unknown_patients": self.image_groups,
            "categories": len(self.categories),
            "with_trace": self.traces,
            "with_spacing": self.spacings,
        }


@dataclass
class RejectTally:
    """What was set aside of one source: rejects and masks by reason."""

    rejects: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)


@dataclass
class Census:
    """A data set in numbers.

    Attributes
    ----------
    splits, sources, modalities:
        By name.
    names:
        Samples by split, under ``category`` and ``supercategory`` and the name.
    licences:
        Of each source, as its samples' origins state them.
    rejects:
        By source.
    drawn, drawn_rejects:
        Rows to show, by source; of rejects, those with a picture by their row of ``rejects.parquet``.
    """

    splits: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    sources: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    modalities: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    names: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: {level: defaultdict(Counter) for level in ("category", "supercategory")}
    )
    absent: Counter[str] = field(default_factory=Counter)
    licences: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    rejects: dict[str, RejectTally] = field(default_factory=lambda: defaultdict(RejectTally))
    drawn: dict[str, Draw[Place]] = field(default_factory=dict)
    drawn_rejects: dict[str, Draw[int]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """In all splits."""
        return sum(split.samples for split in self.splits.values())


def split_files(path: Path) -> dict[str, Path]:
    """The Parquet files of a data set by split: a folder's, or one file under its own name.

    Raises
    ------
    InputError
        If there is none.
    """
    if path.is_file():
        return {path.stem: path}
    found = {split: path / f"{split}.parquet" for split in SPLITS if (path / f"{split}.parquet").is_file()}
    if not found:
        raise InputError(
            f"{path} is not a data set: expected a U-MRG Parquet file, or a folder with "
            + ", ".join(f"{split}.parquet" for split in SPLITS)
        )
    return found


def take(path: Path, *, shown: int = 0, shown_rejects: int = 0) -> Census:
    """Count a data set.

    Parameters
    ----------
    path:
        A curated folder, or one U-MRG Parquet file.
    shown, shown_rejects:
        How many samples and how many rejects of each source are drawn to be shown.

    Raises
    ------
    InputError
        If there is no data set, or a file is not in the U-MRG schema.
    """
    census = Census()
    for split, file in split_files(path).items():
        census.splits[split] = Tally()
        for row, (info, absent) in enumerate(light_rows(file)):
            _count(census, split, info, absent=absent)
            source = source_of(info)[0]
            draw = census.drawn.setdefault(source, Draw(shown))
            draw.show(info["id"] or f"{split} {row}", Place(split, row))
    if path.is_dir() and (path / REJECTS).is_file():
        _count_rejects(census, path / REJECTS, shown_rejects)
    return census


def light_rows(path: Path) -> Iterator[tuple[dict[str, str | None], bool]]:
    """``extra_info`` of each row, all its fields, and whether the target is absent.

    Raises
    ------
    InputError
        If a column is missing, or the ground truth of a row cannot be read.
    """
    with _opened(path) as file:
        missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise InputError(f"{path} is not in the U-MRG schema: the column {missing[0]} is missing")
        row = 0
        for batch in file.iter_batches(_ROWS, columns=_COLUMNS):
            for found in batch.to_pylist():
                try:
                    absent = json.loads(found["reward_model"]["ground_truth"])["bbox_2d"] is None
                except (KeyError, TypeError, ValueError) as error:
                    raise InputError(f"{path.name} row {row}: the ground truth cannot be read ({error!r})") from None
                fields = dict.fromkeys(("id", "supercategory", "category", "modality", "group", "trace", "origin"))
                yield fields | (found["extra_info"] or {}), absent
                row += 1


def source_of(info: Mapping[str, str | None]) -> tuple[str, str]:
    """Name and licence of a row's source."""
    try:
        origin = json.loads(info["origin"] or "{}")
        return str(origin.get("source") or NO_SOURCE), str(origin.get("licence") or "")
    except (ValueError, AttributeError):
        return NO_SOURCE, ""


def _count(census: Census, split: str, info: dict[str, str | None], *, absent: bool) -> None:
    source, licence = source_of(info)
    for tally in (census.splits[split], census.sources[source], census.modalities[info["modality"] or ""]):
        tally.add(info, absent=absent)
    for level, counters in census.names.items():
        counters[split][info[level] or ""] += 1
    if absent:
        census.absent[info.get("absent") or "unspecified"] += 1
    census.licences[source].add(licence)


def _count_rejects(census: Census, path: Path, shown: int) -> None:
    with _opened(path) as file:
        wanted = ("where", "reason", "masks", "source", "code", "thumbnail")
        row = 0
        for batch in file.iter_batches(
            _THUMBNAILS, columns=[name for name in wanted if name in file.schema_arrow.names]
        ):
            for reject in batch.to_pylist():
                source = reject.get("source") or NO_SOURCE
                reason = kind_of(reject.get("code"), reject["reason"])
                census.rejects[source].rejects[reason] += 1
                census.rejects[source].masks[reason] += reject["masks"]
                if reject.get("thumbnail"):
                    draw = census.drawn_rejects.setdefault(source, Draw(shown))
                    draw.show(f"{reject['where']}\n{reject['reason']}\n{row}", row)
                row += 1


def kind_of(code: str | None, reason: str) -> str:
    """What a reject is counted by: its code, else its reason without numbers, names and quotations.

    >>> kind_of("tiny", "liver: the mask has 3 pixels")
    'tiny'
    >>> kind_of("", "sample s0: another sample in train.parquet row 0 has this id; give each sample its own")
    'another sample in … has this id'
    >>> kind_of("", "the mask is 20 x 10, its image 30 x 10")
    'the mask is … x …, its image … x …'
    """
    if code:
        return code
    text = re.sub(r"^sample [^:]*: ", "", reason.split(";")[0])
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)", "…", text)
    text = re.sub(r"\S+\.(parquet|png|dcm|nii|json)\S*( row \d+)?|\b\d[\d.,%/:-]*\b", "…", text)
    return text.strip()[:80] or "no reason given"


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a Parquet file ({error})") from None
