"""Rows of a split as they are exported: in the model's frame, which the neighbour is checked to show the model."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from medreasoner_monai.data.pictures import is_plain
from medreasoner_monai.data.rejects import Ids, Reject
from medreasoner_monai.data.sample import image_group
from medreasoner_monai.data.schema import decode_image, encode_png, read_rows
from medreasoner_monai.data.sources.parquet import in_val
from medreasoner_monai.errors import InputError
from medreasoner_monai.export.model import PLACEHOLDERS, Model
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.training.dataset import training_row

Handed = Callable[[int, int], tuple[int, int]]
"""From a picture's width and height to those of the picture that a neighbour hands to the processor."""


@dataclass(frozen=True)
class Row:
    """One question.

    ``conversation`` has the roles system (where the prompt template has one), user and, for SFT, assistant; ``picture``
    is what the neighbour gets, as PNG in ``png``, ``frame`` what the model sees of it, and ``truth`` is JSON counted in
    that.
    """

    where: str
    conversation: list[dict[str, str]]
    picture: Image.Image
    png: bytes
    frame: Frame
    truth: str
    tokens: int
    about: Mapping[str, str]


@dataclass(frozen=True)
class Splits:
    """Where the rows of train and val stand; ``val_share`` of the groups in train are val where val has no file."""

    train: Path
    val: Path | None = None
    val_share: float = 0.0

    @classmethod
    def find(cls, data: Path, val: Path | None = None, val_share: float = 0.0) -> Splits:
        """The splits in a folder that ``curate`` made, or of files.

        Raises
        ------
        InputError
            If there is no such file, or val is given twice.
        """
        folder = data.is_dir()
        train = data / "train.parquet" if folder else data
        found = data / "val.parquet"
        # curate leaves a file without rows where no validation was asked for.
        filled = folder and not val_share and found.is_file() and _row_count(found)
        chosen = val or (found if filled else None)
        for path in (train, *([chosen] if chosen else [])):
            if not path.is_file():
                raise InputError(f"{path} does not exist; --data is a curated folder with train.parquet, or a file")
        if chosen and val_share:
            raise InputError("--val and --val-share both say what validation is; give one")
        return cls(train, chosen, val_share)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the splits there are."""
        return ("train", "val") if self.val or self.val_share else ("train",)

    def rows(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The stored rows of a split, and where each stands."""
        path = self.val if name == "val" and self.val else self.train
        for where, row in read_rows(path):
            if not self.val_share or (name == "val") == in_val(_group(row), self.val_share):
                yield where, row

    def count(self, name: str) -> int:
        """How many rows are read for a split."""
        return _row_count(self.val if name == "val" and self.val else self.train)


def exported(
    splits: Splits,
    name: str,
    model: Model,
    handed: Handed,
    watch: ProgressReporter,
    *,
    answered: bool,
    ids: Ids | None = None,
) -> Iterator[Row | Reject]:
    """The rows of a split in order, and a reject in the place of each that cannot be exported.

    Parameters
    ----------
    handed:
        What the neighbour does to a picture before the processor gets it.
    answered:
        With the assistant's turn, for SFT.
    ids:
        Those of the splits that were exported before, to which this one's are added; a row that has one is a reject.
    """
    total, ids = splits.count(name), Ids() if ids is None else ids
    for done, (where, stored) in enumerate(splits.rows(name), 1):
        try:
            made = _row(where, stored, model, handed, answered)
            reason = ids.refuse(made.about["id"], where)
            yield made if reason is None else Reject(where, reason)
        except InputError as error:
            yield Reject(where, str(error))
        if done % 16 == 0:
            watch.step(done, total)
    watch.step(total, total)


def _row(where: str, stored: dict[str, Any], model: Model, handed: Handed, answered: bool) -> Row:
    given = stored.get("extra_info") or {}
    about = {n: str(given.get(n) or "") for n in ("id", "category", "supercategory", "modality", "group", "trace")}
    about["id"] = about["id"] or where
    if answered and model.prompt.think and not about["trace"].strip():
        raise InputError(
            f"sample {about['id']} has no reasoning trace to learn; give it one, or ask without: --set model.prompt="
            "direct"
        )
    made = training_row({**stored, "extra_info": about}, model.processor, model.prompt, answered=answered)
    conversation = [*made["prompt"], *made.get("completion", [])]
    for text in PLACEHOLDERS:
        if any(text in message["content"] for message in conversation):
            raise InputError(f"sample {about['id']}: its text holds {text}, which would be taken for a place of media")
    picture, frame = made["images"][0], Frame(made["frame_width"], made["frame_height"], "model")
    shown = model.sees(*handed(*picture.size))
    if shown != frame:
        raise InputError(
            f"sample {about['id']}: the model would be shown {shown.width} x {shown.height} pixels where the truth is "
            f"counted in {frame.width} x {frame.height}; crop so long and thin a picture"
        )
    tokens = model.tokens(conversation, frame)
    png = _png(stored["images"][0]["bytes"], picture)
    return Row(where, conversation, picture, png, frame, made["ground_truth"], tokens, about)


def _png(data: bytes, picture: Image.Image) -> bytes:
    """The stored bytes where they are just this picture, which saves most of the time; else the picture encoded."""
    with Image.open(io.BytesIO(data)) as stored:
        if is_plain(stored) and stored.size == picture.size:
            return data
    return encode_png(np.asarray(picture))


def _row_count(path: Path) -> int:
    try:
        return int(pq.ParquetFile(path).metadata.num_rows)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise InputError(f"{path} is not a Parquet file ({error})") from None


def _group(row: dict[str, Any]) -> str:
    if group := (row.get("extra_info") or {}).get("group"):
        return str(group)
    try:
        return image_group(decode_image(row["images"][0]["bytes"], "image"))
    except (InputError, LookupError, TypeError):
        return ""  # the row is set aside when it is exported
