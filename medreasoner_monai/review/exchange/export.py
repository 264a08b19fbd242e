"""Writing a data set and its verdicts for another annotation tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from medreasoner_monai.data.review.applied import outcomes_of
from medreasoner_monai.data.review.events import Event, Field, Heads
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import encode_png
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import write_json
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.exchange import cvat, label_studio
from medreasoner_monai.review.exchange.annotation import Said, picture_name, said_by


def export_to(format_: Literal["label-studio", "cvat"], data: ReviewedData, store: ReviewStore, out: Path) -> int:
    """Write pictures and annotations; returns how many samples.

    ``label-studio`` writes ``tasks.json`` and ``label_config.xml``, ``cvat`` writes ``annotations.xml`` and
    ``labels.json``; the pictures lie in ``images/``.

    Raises
    ------
    InputError
        If the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty; name a new folder")
    (out / "images").mkdir(parents=True, exist_ok=True)
    heads = Heads(store.events())
    if format_ == "label-studio":
        samples = _with_pictures(data, out)
        tasks = [
            label_studio.task(n, s, _by_reviewer(heads.of(s.id), s, store)) for n, s in enumerate(samples, start=1)
        ]
        (out / "label_config.xml").write_text(label_studio.label_config(), encoding="utf-8")
        write_json(out / "tasks.json", tasks)
        return len(tasks)
    settled = ((s, _settled(heads.of(s.id), s, store)) for s in _with_pictures(data, out))
    root = cvat.document(settled)
    ET.indent(root)
    (out / "labels.json").write_text(cvat.labels(), encoding="utf-8")
    part = out / "annotations.xml.tmp"
    ET.ElementTree(root).write(part, encoding="utf-8", xml_declaration=True)
    part.replace(out / "annotations.xml")
    return sum(1 for _ in root.iter("image"))


def _with_pictures(data: ReviewedData, out: Path) -> Iterator[Sample]:
    for index in range(len(data.entries)):
        sample = data.sample(index)
        (out / "images" / picture_name(sample.id)).write_bytes(encode_png(sample.image))
        yield sample


def _by_reviewer(heads: list[Event], sample: Sample, store: ReviewStore) -> dict[str, dict[Field, Said]]:
    reviewers = dict.fromkeys(e.reviewer for e in heads)
    return {name: said_by([e for e in heads if e.reviewer == name], sample, store) for name in reviewers}


def _settled(heads: list[Event], sample: Sample, store: ReviewStore) -> Mapping[Field, Said]:
    events = [o.event for o in outcomes_of(sample, heads, store).values() if o.event is not None]
    return said_by(events, sample, store)
