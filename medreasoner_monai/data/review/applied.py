"""Verdicts applied to a data set while it is curated: corrections replace, rejected samples are set aside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from medreasoner_monai.data.review.events import Event, Field, Heads, mask_digest, picture_digest, text_digest
from medreasoner_monai.data.review.outcome import Content, Outcome, content_of, fields_of, settle
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import SampleError, encode_png, from_row, truth_json
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.data import ReviewSettings
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.question_check import check_question, find_mark

_VERSION = 1


class Reviews:
    """A snapshot of a store's verdicts, as they were when it was read.

    Raises
    ------
    InputError
        If there is no such store.
    """

    def __init__(self, store: ReviewStore, *, require: bool = False, readings: int = 1) -> None:
        self._store, self._require, self._readings = store, require, readings
        self._heads = Heads(store.events())

    @classmethod
    def of(cls, settings: ReviewSettings | None) -> Reviews | None:
        """As a config has it."""
        if settings is None:
            return None
        return cls(ReviewStore(settings.path), require=settings.require, readings=settings.readings)

    def identity(self) -> dict[str, Any]:
        """What decides the result, JSON-able: the verdicts that hold, not who gave them when, nor comments."""
        digest = hashlib.sha256()
        for sample in self._heads.samples():
            for e in self._heads.of(sample):
                digest.update(json.dumps([sample, e.picture, e.field, e.seen, e.role, e.verdict]).encode())
                digest.update(e.value_digest.encode())
        facts = {"version": _VERSION, "require": self._require, "readings": self._readings}
        return facts | {"verdicts": digest.hexdigest()}

    def apply(self, row: dict[str, Any], where: str) -> str | None:
        """Correct a row of the U-MRG schema in place.

        A corrected mask brings its own box and key points. Verdicts on another picture, or on a part that has been made
        anew since, do not apply.

        Returns
        -------
        str or None
            Why the sample is set aside; None if it is kept.
        """
        heads = self._heads.of(row["extra_info"]["id"])
        if not heads:
            return self._unread("nobody has reviewed it")
        sample = from_row(row, where)
        digest = picture_digest(sample.image)
        heads = [e for e in heads if e.picture == digest]
        if not heads:
            return self._unread("its picture is not the one that was reviewed")
        outcomes = outcomes_of(sample, heads, self._store, readings=self._readings)
        disputed = [f for f, o in outcomes.items() if o.state == "disputed"]
        rejected = [f for f, o in outcomes.items() if o.event and o.event.verdict == "reject"]
        if rejected:
            return f"reviewers rejected its {' and '.join(rejected)}; their comments are in the review store"
        if disputed:
            return f"reviewers disagree on its {' and '.join(disputed)}; adjudicate it"
        unread = [f for f, o in outcomes.items() if o.state == "open"]
        said = f"its {' and '.join(unread)} has not been judged by {self._readings} reader(s)"
        if unread and (reason := self._unread(said)):
            return reason
        for field, outcome in outcomes.items():
            if outcome.event and outcome.event.verdict == "edit":
                _replace(row, field, content_of(outcome.event, "", self._store.value))
        try:
            from_row(row, where)
        except SampleError as error:
            return f"its corrected version cannot be used: {error}"
        return None

    def _unread(self, why: str) -> str | None:
        return f"reviewed samples are required and {why}; review it" if self._require else None


def outcomes_of(
    sample: Sample, heads: Sequence[Event], store: ReviewStore, *, readings: int = 1
) -> dict[Field, Outcome]:
    """Where each part of a sample stands, by the verdicts on the part as it is now."""
    found: dict[Field, Outcome] = {}
    contents = contents_of(sample)
    for field, content in contents.items():
        seen = digest_of(content)
        here = [e for e in heads if e.field == field and e.seen == seen]
        found[field] = settle(here, content, store.value, readings=readings)
    return found


def contents_of(sample: Sample) -> Mapping[Field, Content]:
    """The parts of a sample that are judged."""
    parts: dict[Field, Content] = {"question": sample.question, "mask": sample.mask, "trace": sample.trace}
    return {field: parts[field] for field in fields_of(sample.trace)}


def digest_of(content: Content) -> str:
    """``seen`` of a verdict on this content."""
    return text_digest(content) if isinstance(content, str) else mask_digest(content)


def check_edit(field: Field, content: Content, sample: Sample) -> Content:
    """A correction that can stand in the data set, texts with their white space folded.

    Raises
    ------
    InputError
        If a question or trace is empty or holds what a model would take for a mark of its own, or a mask has another
        size than the picture or marks nothing.
    """
    what = f"sample {sample.id}, {field}"
    if isinstance(content, str):
        if field == "question":
            return check_question(content)
        text = "\n".join(" ".join(line.split()) for line in content.strip().splitlines())
        if not text:
            raise InputError(f"{what}: the text is empty; reject it instead")
        if mark := find_mark(text):
            raise InputError(f"{what}: the text holds {mark}; leave it out")
        return text
    if content.shape != sample.mask.shape:
        raise InputError(f"{what}: the mask is {content.shape}, the picture {sample.mask.shape} (rows, columns)")
    if not content.any():
        raise InputError(f"{what}: the mask marks nothing; reject it if the target is not there")
    return content


def _replace(row: dict[str, Any], field: Field, content: Content) -> None:
    if isinstance(content, str):
        if field == "question":
            row["prompt"][0]["content"] = content
        else:
            row["extra_info"]["trace"] = content
        return
    row["masks"] = [{"bytes": encode_png(content), "path": None}]
    row["reward_model"] = {"ground_truth": truth_json((mask_box(content), key_points(content)))}
    row["extra_info"]["absent"] = None
