"""Settings in a neighbour's words: a list of them is what is written, and what the README tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreasoner_monai import __version__
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.errors import InputError
from medreasoner_monai.export.model import Model
from medreasoner_monai.export.rows import Row, Splits
from medreasoner_monai.files import file_digest, write_json

RECORD = "export.json"


@dataclass(frozen=True)
class Mapped:
    """A setting's name and value at the neighbour's, and the setting of ours (or the reason) that the value is from."""

    name: str
    value: Any
    ours: str


@dataclass
class Facts:
    """What is learnt while the rows of a split go by."""

    rows: int = 0
    longest: int = 0
    most_pixels: int = 0

    def add(self, row: Row) -> None:
        """Take a row into account."""
        self.rows += 1
        self.longest = max(self.longest, row.tokens)
        self.most_pixels = max(self.most_pixels, row.picture.width * row.picture.height)


def at_least_one(split: str, facts: Facts, rejects: Sequence[Reject]) -> None:
    """Refuse an empty split.

    Raises
    ------
    InputError
        If no row was left; the message says why the first was set aside.
    """
    if not facts.rows:
        first = f"; the first was set aside because: {rejects[0].reason}" if rejects else ""
        raise InputError(f"no sample is left in {split}{first}")


def up_to_multiple(value: int, of: int = 64) -> int:
    """The smallest multiple that is not smaller.

    >>> up_to_multiple(130), up_to_multiple(128)
    (192, 128)
    """
    return -(-value // of) * of


def table(mapped: Sequence[Mapped]) -> str:
    """The settings as a Markdown table."""
    lines = [f"| `{m.name}` | `{m.value}` | {m.ours} |" for m in mapped]
    return "\n".join(["| there | value | from |", "|---|---|---|", *lines])


def write_record(folder: Path, name: str, model: Model, splits: Splits, facts: dict[str, Facts], **more: Any) -> None:
    """Write down what the export was made of."""
    files = {"train": splits.train, **({"val": splits.val} if splits.val else {})}
    write_json(
        folder / RECORD,
        {
            "export": name,
            "medreasoner_monai": __version__,
            "model": str(model.folder),
            "prompt": {"name": model.prompt.name, "digest": model.prompt.digest},
            "data_sha256": {split: file_digest(path) for split, path in files.items()},
            "val_share": splits.val_share,
            "rows": {split: f.rows for split, f in facts.items()},
            "longest_tokens": max(f.longest for f in facts.values()),
            **more,
        },
    )
