"""Many studies from a CSV file, one after another: each is done or set aside with its reason, and none is lost."""

from __future__ import annotations

import csv
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from medreasoner_monai.dicom.opened import Opened
from medreasoner_monai.dicom.rules import parse_rule
from medreasoner_monai.dicom.seg import SegKind
from medreasoner_monai.errors import InputError, MedReasonerError, nearest
from medreasoner_monai.files import object_digest
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.outputs import ANSWER, NAMES, check_folder
from medreasoner_monai.grounding.request import GroundingSettings, Question, parse_carry, parse_slices
from medreasoner_monai.grounding.study import Study, ground_study

logger = logging.getLogger("medreasoner")

COLUMNS = ("id", "dicom", "question", "series", "slices", "carry", "rendering", "category")
LOG, TABLE = "worklist.jsonl", "worklist.csv"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Item:
    """A study of a worklist. ``id`` names its folder; a row that cannot be used has a ``problem`` and no study."""

    id: str
    study: Study | None
    settings: GroundingSettings
    problem: str = ""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an item. ``findings`` are their statuses, in the order of the questions."""

    id: str
    status: Literal["done", "failed"]
    reason: str
    findings: tuple[str, ...]
    seconds: float
    digest: str


class Listener(Protocol):
    """Progress reporter for a worklist."""

    def study(self, number: int, total: int, id_: str) -> None:
        """A study begins; ``number`` from 1."""
        ...

    def step(self, done: int, total: int) -> None:
        """Inside the study."""
        ...


def read_worklist(path: Path, settings: GroundingSettings) -> list[Item]:
    """The studies of a CSV file with a header line.

    ``dicom`` (relative to the file) and ``question`` are needed; ``id`` (default: the row's number), ``series``,
    ``slices``, ``carry``, ``rendering`` and ``category`` are optional. Rows of one ``id`` are questions of one study.

    Parameters
    ----------
    settings:
        How to ask where a row says nothing.

    Raises
    ------
    InputError
        If the file cannot be read, has no row, or lacks or does not know a column. A bad row is an item with a problem.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({type(error).__name__})") from None
    rows = csv.DictReader(text.splitlines())
    names = [name.strip().lower() for name in rows.fieldnames or []]
    for name in names:
        if name not in COLUMNS:
            raise InputError(
                f"{path}: unknown column {name!r}; known are {', '.join(COLUMNS)}.{nearest(name, COLUMNS)}"
            )
    if missing := [name for name in ("dicom", "question") if name not in names]:
        raise InputError(f"{path}: the column {missing[0]!r} is missing; the first line names the columns")
    rows.fieldnames = names
    items: dict[str, Item] = {}
    for number, row in enumerate(rows, 1):
        values = {k: (v or "").strip() for k, v in row.items() if isinstance(k, str) and not isinstance(v, list)}
        item = _item(values, f"{number:04d}", path.parent, settings)
        known = items.get(item.id)
        items[item.id] = item if known is None else _joined(known, item, number)
    if not items:
        raise InputError(f"{path} has no row below its header")
    return list(items.values())


def run_worklist(
    grounder: Grounder, items: Sequence[Item], out: Path, *, seg: SegKind = "binary", listener: Listener | None = None
) -> list[Outcome]:
    """Ground every study into ``out/<id>``; what an earlier run finished with the same models and request is kept.

    ``worklist.jsonl`` grows by a line a study while it runs; ``worklist.csv`` is written at the end.

    Returns
    -------
    One an item, in order.

    Raises
    ------
    InputError
        If ``out`` is a file.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    before = {outcome.id: outcome for outcome in _earlier(out / LOG)}
    results = []
    opened = Opened()  # rows of one folder are often neighbours
    for number, item in enumerate(items, 1):
        digest = _digest(grounder, item, seg)
        earlier = before.get(item.id)
        if (
            earlier is not None
            and (earlier.status, earlier.digest) == ("done", digest)
            and (out / item.id / ANSWER).is_file()
        ):
            results.append(earlier)
            continue
        if listener is not None:
            listener.study(number, len(items), item.id)
        outcome = _one(grounder, item, out / item.id, opened, seg, listener, digest)
        results.append(outcome)
        with (out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
    _write_table(out / TABLE, results)
    return results


def _one(
    grounder: Grounder,
    item: Item,
    folder: Path,
    opened: Opened,
    seg: SegKind,
    listener: Listener | None,
    digest: str,
) -> Outcome:
    started = time.perf_counter()
    findings: tuple[str, ...] = ()
    reason = item.problem
    if item.study is not None and not reason:
        try:
            result, _ = ground_study(
                grounder,
                item.study,
                folder,
                settings=item.settings,
                series=opened.open(item.study.dicom).choose(item.study.series),
                seg=seg,
                progress=None if listener is None else listener.step,
            )
            findings = tuple(f.status for f in result.findings)
        except MedReasonerError as error:
            reason = str(error)
        except Exception as error:  # one broken study must not end the others
            # Messages of libraries may quote what stands in the file; their kind and place do not.
            reason = f"unexpected {type(error).__name__}; run `medreasoner ground` on this study alone to see where"
            logger.debug("study %s", item.id, exc_info=True)
    if reason:
        # An answer that lies here is to another request; beside a failure it would be taken for this one's.
        for name in NAMES:
            (folder / name).unlink(missing_ok=True)
    seconds = round(time.perf_counter() - started, 3)
    return Outcome(item.id, "failed" if reason else "done", reason, findings, seconds, digest)


def _item(row: dict[str, str], number: str, base: Path, settings: GroundingSettings) -> Item:
    id_ = row.get("id") or number
    if not _ID.fullmatch(id_):
        return Item(number, None, settings, "its id is no plain file name: letters, digits, dot, dash and underscore")
    if not row.get("dicom") or not row.get("question"):
        return Item(id_, None, settings, "dicom or question is empty")
    try:
        own = replace(
            settings,
            slices=parse_slices(row["slices"]) if row.get("slices") else settings.slices,
            carry=parse_carry(row["carry"]) if row.get("carry") else settings.carry,
            rendering=parse_rule(row["rendering"]) if row.get("rendering") else settings.rendering,
        )
        question = Question(row["question"], row.get("category") or None)
        question.codes()
    except InputError as error:
        return Item(id_, None, settings, str(error))
    return Item(id_, Study(base / row["dicom"], (question,), row.get("series") or None), own)


def _joined(known: Item, item: Item, number: int) -> Item:
    """Another question of the same study; one bad row spoils the study, whose answer would not be whole."""
    if known.problem or item.problem or known.study is None or item.study is None:
        return replace(known, study=None, problem=known.problem or f"row {number}: {item.problem}")
    one, two = known.study, item.study
    if (one.dicom, one.series, known.settings) != (two.dicom, two.series, item.settings):
        return replace(known, study=None, problem=f"row {number} has the same id, but another series or way to ask")
    return replace(known, study=replace(one, questions=(*one.questions, *two.questions)))


def _digest(grounder: Grounder, item: Item, seg: SegKind) -> str:
    study = item.study
    request = None if study is None else [str(study.dicom), study.series, [asdict(q) for q in study.questions]]
    rendering = item.settings.rendering
    settings = asdict(item.settings) | {"rendering": rendering.digest}
    return object_digest([grounder.origin(rendering).digests, request, settings, seg, _state(study)])


def _state(study: Study | None) -> list[list[object]]:
    """Names, sizes and times of the study's files: a study that was sent again is asked again."""
    if study is None or not study.dicom.exists():
        return []
    files = sorted(p for p in study.dicom.rglob("*") if p.is_file()) if study.dicom.is_dir() else [study.dicom]
    return [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]


def _earlier(log: Path) -> Iterator[Outcome]:
    """What an earlier run noted; a last line that was cut off by its end is not counted."""
    if not log.is_file():
        return
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            yield Outcome(**{**row, "findings": tuple(row["findings"])})
        except (ValueError, TypeError, KeyError):
            continue


def _write_table(path: Path, results: Sequence[Outcome]) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "status", "findings", "reason", "seconds"])
        for one in results:
            table.writerow([one.id, one.status, "; ".join(one.findings), one.reason, one.seconds])
    temporary.replace(path)
