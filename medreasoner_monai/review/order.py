"""In which order samples are reviewed: by id, or what a model disagrees with or is unsure of first; gold mixed in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from medreasoner_monai.data.review.events import FIELDS, Field, Verdict
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.records import SAMPLES, Record, read_records

Order = Literal["id", "disagreement", "confidence"]
ORDERS: tuple[Order, ...] = get_args(Order)
_LAST = float("inf")
_KNOWN = ("accept", "edit", "reject")


def model_order(ids: Sequence[str], evaluation: Path | None, order: Order) -> list[str]:
    """Ids in the order of review; samples that the evaluation does not have come last, by id.

    ``disagreement`` puts the least overlap of answer and data set first: the Dice of the best mask, or else the IoU of
    the box; a region where the data set has none, and none where it has one, overlap nothing. ``confidence`` puts the
    least confident first.

    Raises
    ------
    InputError
        If the order needs an evaluation that is not given, not there, or without confidences.
    """
    if order == "id":
        return sorted(ids)
    if evaluation is None:
        raise InputError(f"--order {order} needs --evaluation, a folder that `medreasoner evaluate` wrote")
    path = evaluation / SAMPLES if evaluation.is_dir() else evaluation
    if not path.is_file():
        raise InputError(f"{path} does not exist; `medreasoner evaluate --out {evaluation}` writes it")
    records = {record.id: record for record in read_records(path)}
    if order == "confidence":
        keys = {name: r.confidence for name, r in records.items() if r.confidence is not None}
        if not keys:
            raise InputError(f"{path} has no confidences; evaluate with several samples, or --order disagreement")
    else:
        keys = {name: _agreement(r) for name, r in records.items()}
    return sorted(ids, key=lambda name: (keys.get(name, _LAST), name))


def _agreement(record: Record) -> float:
    if not record.present:
        return 0.0 if record.answered else 1.0
    return max([*record.masks.values()], default=record.box_iou) if record.answered else 0.0


@dataclass(frozen=True)
class Gold:
    """Samples whose right verdicts are known, to be read without being told which they are.

    Attributes
    ----------
    verdicts:
        By sample id and field.
    share:
        At most this share of what a reader is given.
    """

    verdicts: Mapping[str, Mapping[Field, Verdict]]
    share: float = 0.1

    @classmethod
    def read(cls, path: Path, known: Iterable[str], share: float = 0.1) -> Gold:
        """Read ``{"<sample id>": {"question": "accept", "mask": "reject", …}, …}``.

        Raises
        ------
        InputError
            If the file is missing or not of that form, or names a sample that the data set does not have.
        """
        try:
            values: Any = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise InputError(f"{path} is not JSON ({error})") from None
        if not isinstance(values, dict) or not values:
            raise InputError(f'{path}: expected {{"<sample id>": {{"mask": "reject", …}}, …}}')
        ids = set(known)
        for name, fields in values.items():
            if name not in ids:
                raise InputError(f"{path}: the data set has no sample {name}")
            if not isinstance(fields, dict) or not fields or set(fields) - set(FIELDS):
                raise InputError(f"{path}, sample {name}: expected verdicts on question, mask or trace")
            if wrong := [v for v in fields.values() if v not in _KNOWN]:
                raise InputError(f"{path}, sample {name}: a verdict is accept, edit or reject, found {wrong[0]!r}")
        return cls(values, share)


def queue(order: Sequence[str], gold: Gold | None, reviewer: str) -> list[str]:
    """A reader's samples: the order with gold items at places that nobody can guess, other ones for each reader.

    >>> mixed = queue([f"s{n}" for n in range(9)], Gold({"s3": {}, "s7": {}}, share=0.25), "ann")
    >>> sorted(mixed) == [f"s{n}" for n in range(9)]
    True
    """
    if gold is None:
        return list(order)
    golden = sorted((name for name in order if name in gold.verdicts), key=lambda name: _draw(reviewer, name))
    plain = [name for name in order if name not in gold.verdicts]
    every = max(round(1 / gold.share), 2) if gold.share > 0 else len(order) + 1
    mixed: list[str] = []
    for start in range(0, len(plain), every - 1):
        block = plain[start : start + every - 1]
        if golden:
            block.insert(int(_draw(reviewer, f"place {start}") * (len(block) + 1)), golden.pop(0))
        mixed += block
    return mixed + golden  # the data set is smaller than its gold items ask for


def _draw(reviewer: str, what: str) -> float:
    """A number in [0, 1) that is always the same."""
    return int.from_bytes(hashlib.sha256(f"{reviewer}\n{what}".encode()).digest()[:8], "big") / 2**64
