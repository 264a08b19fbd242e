"""Taking verdicts over from another annotation tool's file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.errors import InputError
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.exchange import cvat, label_studio
from medreasoner_monai.review.exchange.annotation import judgements


@dataclass
class Imported:
    """How many verdicts were taken, on how many samples, and why others were not."""

    verdicts: int = 0
    samples: int = 0
    refused: list[str] = field(default_factory=list)


def import_from(
    format_: Literal["label-studio", "cvat"], file: Path, data: ReviewedData, store: ReviewStore, reviewer: str = ""
) -> Imported:
    """Add a file's verdicts to a store. An annotation is taken whole or refused; the same file read twice adds nothing.

    Raises
    ------
    InputError
        If the file is not of its format.
    """
    read = label_studio.read_tasks if format_ == "label-studio" else cvat.read_document
    done = Imported()
    touched: set[str] = set()
    before = max((e.seq for e in store.events()), default=0)
    for annotation in read(file, data, reviewer):
        if isinstance(annotation, InputError):
            done.refused.append(str(annotation))
            continue
        sample = data.get(annotation.sample)
        assert sample is not None
        try:
            for judgement in list(judgements(annotation, sample, format_)):
                if store.add(judgement).seq > before:
                    done.verdicts += 1
                    touched.add(sample.id)
        except InputError as error:
            done.refused.append(str(error))
    done.samples = len(touched)
    return done
