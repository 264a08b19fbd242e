"""What an annotation of another tool says about a sample, and what that is as verdicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medreasoner_monai.data.review.applied import check_edit, contents_of, digest_of
from medreasoner_monai.data.review.events import FIELDS, Event, Field, Judgement, picture_digest
from medreasoner_monai.data.review.outcome import Content, content_of
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import encode_png
from medreasoner_monai.errors import InputError

VERDICTS = ("accept", "edit", "reject")


@dataclass(frozen=True)
class Said:
    """Of one part: the verdict that was ticked, the part as it is in the annotation, and a comment."""

    verdict: str = ""
    content: Content | None = None
    comment: str = ""


@dataclass(frozen=True)
class Annotation:
    """One person's annotation of one sample."""

    sample: str
    reviewer: str
    parts: Mapping[Field, Said] = field(default_factory=dict)
    at: str = ""


def picture_name(sample: str) -> str:
    """The file name of a sample's picture: letters and digits, whatever its id holds.

    >>> picture_name("../etc/passwd")
    '4d78ab9abb3ee3eb2b0dab08.png'
    """
    return hashlib.sha256(sample.encode()).hexdigest()[:24] + ".png"


def said_by(heads: list[Event], sample: Sample, store: ReviewStore) -> dict[Field, Said]:
    """One reviewer's verdicts as an annotation has them."""
    parts = contents_of(sample)
    return {
        e.field: Said(e.verdict, content_of(e, parts[e.field], store.value), e.comment)
        for e in heads
        if e.field in parts
    }


def judgements(annotation: Annotation, sample: Sample, via: str) -> Iterator[Judgement]:
    """The verdicts of an annotation.

    A part that differs from the data set's is an edit, whether or not that was ticked; a part that is as it was and of
    which nothing was ticked has no verdict. The same annotation read twice gives the same acts of judging.

    Raises
    ------
    InputError
        If a verdict is none, an edit changed nothing, or the correction cannot stand.
    """
    parts = contents_of(sample)
    picture = picture_digest(sample.image)
    for part in FIELDS:
        said = annotation.parts.get(part)
        if said is None or part not in parts:
            continue
        what = f"sample {sample.id}, {part}"
        if said.verdict and said.verdict not in VERDICTS:
            raise InputError(f"{what}: a verdict is accept, edit or reject, found {said.verdict[:40]!r}")
        seen = digest_of(parts[part])
        changed = said.content is not None and digest_of(said.content) != seen
        verdict = "edit" if changed and said.verdict != "reject" else said.verdict
        if not verdict:
            continue
        value: bytes | None = None
        if verdict == "edit":
            if said.content is None or not changed:
                raise InputError(f"{what}: edit was ticked, and nothing is changed; accept it, or change it")
            content = check_edit(part, said.content, sample)
            value = content.encode() if isinstance(content, str) else encode_png(np.asarray(content))
        act: list[Any] = [via, annotation.reviewer, annotation.at, sample.id, part, seen, verdict, said.comment]
        client = hashlib.sha256(json.dumps(act).encode() + (value or b"")).hexdigest()[:48]
        yield Judgement(
            annotation.reviewer,
            sample.id,
            picture,
            part,
            seen,
            verdict,  # type: ignore[arg-type] # one of VERDICTS
            client,
            value,
            said.comment,
            via=via,
            at=annotation.at,
        )
