"""`medreasoner evaluate`: one reasoner on one data set, into a folder that another call goes on with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.answerers import Answerer
from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.evaluation.metrics import summarise
from medreasoner_monai.evaluation.records import METRICS, SAMPLES, Record, read_records, write_records
from medreasoner_monai.evaluation.resolve import Data
from medreasoner_monai.evaluation.scoring import evaluate
from medreasoner_monai.files import object_digest, write_json
from medreasoner_monai.pipeline.progress import ProgressReporter

ABOUT = "evaluation.json"
REJECTS = "rejects.json"
SHARDS = "shards"


@dataclass(frozen=True)
class Options:
    """How an evaluation is done."""

    batch: int = 32
    surface: bool = True
    bootstrap: int = 2000
    part: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Finished:
    """An evaluation folder read back: ``about`` says what was evaluated on what."""

    path: Path
    about: Mapping[str, Any]
    metrics: Mapping[str, Any]
    records: Sequence[Record]


def evaluate_to(
    out: Path,
    who: Answerer,
    data: Data,
    segmenters: Mapping[str, Embeddings],
    options: Options,
    watch: ProgressReporter,
) -> Finished | None:
    """Evaluate into ``out``: ``samples.parquet``, ``metrics.json``, ``evaluation.json`` and, if any, ``rejects.json``.

    Finished shards found there are kept, so that a killed evaluation ends as if it had not been.

    Returns
    -------
    None when other parts' shards are still missing.

    Raises
    ------
    InputError
        If the folder holds another evaluation, or no sample can be used.
    """
    about = {
        "reasoner": who.name,
        "reasoner_digest": who.digest,
        "prompt_digest": who.prompt_digest,
        "dataset": data.digest,
        "dataset_name": data.path.name,
        "segmenters": {name: e.segmenter.digest for name, e in segmenters.items()},
        "batch": options.batch,
        "surface": options.surface,
    }
    _claim(out, about)
    records = evaluate(
        who,
        data.samples(),
        data.total,
        segmenters,
        out / SHARDS,
        watch,
        batch=options.batch,
        surface=options.surface,
        part=options.part,
    )
    if data.rejects:
        write_json(out / REJECTS, [asdict(r) for r in data.rejects])
        watch.note(f"{len(data.rejects)} samples set aside, see {REJECTS}")
    if records is None:
        return None
    if not records:
        why = f"; the first was set aside because: {data.rejects[0].reason}" if data.rejects else ""
        raise InputError(f"{data.path} has no sample to evaluate on{why}")
    write_records(out / SAMPLES, records, about)
    metrics = summarise(records, resamples=options.bootstrap) | about | {"rejects": len(data.rejects)}
    write_json(out / METRICS, metrics)
    return Finished(out, about, metrics, records)


def read_evaluation(path: Path) -> Finished:
    """Read an evaluation folder, of the command or of a workspace's artifacts.

    Raises
    ------
    InputError
        If it holds no finished evaluation.
    """
    try:
        metrics = json.loads((path / METRICS).read_text(encoding="utf-8"))
        records = read_records(path / SAMPLES)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} holds no finished evaluation: {Path(error.filename or SAMPLES).name} is missing"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: {METRICS} cannot be read ({error})") from None
    return Finished(path, {k: metrics.get(k) for k in ("reasoner", "reasoner_digest", "dataset")}, metrics, records)


def _claim(out: Path, about: Mapping[str, Any]) -> None:
    """Note what is evaluated here, or see that it is the same."""
    out.mkdir(parents=True, exist_ok=True)
    note = out / ABOUT
    if not note.is_file():
        if any(out.iterdir()):
            raise InputError(f"{out} is not empty and holds no evaluation; give an empty or new folder")
        write_json(note, about)
        return
    there = json.loads(note.read_text(encoding="utf-8"))
    if object_digest(there) != object_digest(about):
        changed = sorted(k for k in {*there, *about} if there.get(k) != about.get(k))
        raise InputError(f"{out} holds another evaluation ({', '.join(changed)} differ); give a new folder")
