"""Questions and traces of a language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medreasoner_monai.data.describe import describe
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import encode_png
from medreasoner_monai.data.writers.absent import Asked, Census, absent_targets
from medreasoner_monai.data.writers.answers import absent_sample, found_sample, generator, named_targets, numbered
from medreasoner_monai.data.writers.forms import absent_trace_text, view_words
from medreasoner_monai.data.writers.llm_client import UnusableReplyError, ask, prompt_digest
from medreasoner_monai.settings.data import QuestionSettings
from medreasoner_monai.settings.language_model import LanguageModelSettings
from medreasoner_monai.task.question_check import find_mark

_VERSION = 2
Check = Callable[[LabelledImage, Sample], str | None]
_OUTLINE = (255, 255, 0)  # RGB


class WrittenReply(BaseModel):
    """What the model is to reply."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=10, max_length=300)
    trace: str = Field(min_length=10, max_length=600)


@dataclass(frozen=True)
class LanguageModelWriter:
    """Sends a target's measured attributes, and the picture where that is allowed, and takes question and trace.

    A reply that is not JSON of the schema, that names the target, or that does not agree with the picture is sent back
    with the reason; after ``model.replies`` of them the target is a reject. Questions come from the target's clinical
    role in the prompt for present and absent targets alike, so that they do not tell which it is.

    Attributes
    ----------
    settings, model:
        As configured.
    check:
        Gives the reason why a sample cannot be kept, which is sent back to the model.
    census:
        What the data set shows; without one, nothing is asked for in vain.
    """

    settings: QuestionSettings
    model: LanguageModelSettings
    check: Check
    census: Census = field(default_factory=Census)

    def identity(self) -> dict[str, Any]:
        """Version, prompt's digest, and the settings that decide a text."""
        return {
            "writer": "llm",
            "version": _VERSION,
            "prompt": prompt_digest(self.model.prompt),
            "model": self.model.deciding(),
            **self.settings.model_dump(mode="json", include={"seed", "per_target", "absent_share", "max_grade"}),
        }

    def write(self, picture: LabelledImage) -> Iterator[tuple[str, Sample] | Reject]:
        """Up to ``model.in_flight`` requests at once; the result does not depend on their order."""
        absent = absent_targets(picture, self.census, self.settings.absent_share, self.settings.seed)
        jobs: list[tuple[Any, ...]] = [
            (self._present, picture, name, target, turn)
            for name, target in named_targets(picture)
            for turn in range(self.settings.per_target)
        ]
        jobs += [(self._absent, picture, *one, turn) for one in absent for turn in range(self.settings.per_target)]
        with ThreadPoolExecutor(self.model.in_flight) as pool:
            yield from pool.map(lambda job: job[0](*job[1:]), jobs)

    def _present(self, picture: LabelledImage, name: str, target: Target, turn: int) -> tuple[str, Sample] | Reject:
        made = numbered(name, turn)
        facts = {
            **self._facts(picture, target.name, made),
            "visible": True,
            "measured": asdict(describe(picture, target)),
            "others": [other.name for other in picture.targets if other is not target],
        }

        def sample(reply: WrittenReply) -> Sample:
            return found_sample(picture, target, made, _text(reply.question), _text(reply.trace))

        written = self._ask(picture, facts, sample, target)
        return (
            Reject(target.where, written, "ask", masks=int(turn == 0))
            if isinstance(written, str)
            else (target.where, written)
        )

    def _absent(self, picture: LabelledImage, asked: Asked, why: str, turn: int) -> tuple[str, Sample] | Reject:
        plain = f"{picture.origin.source}/{picture.id}-{why}-{asked.name}-{asked.site}".replace(" ", "-")
        name = numbered(plain, turn)
        facts = {**self._facts(picture, asked.name, name), "site": asked.site, "visible": False}
        view = view_words(picture.modality, picture.site)
        trace = absent_trace_text(view, asked.name, generator(self.settings.seed, name))

        def sample(reply: WrittenReply) -> Sample:
            question = _text(reply.question)
            return absent_sample(picture, asked.name, asked.site, name, question, trace, why)

        written = self._ask(picture, facts, sample, None)
        return Reject(picture.id, written, "ask", masks=0) if isinstance(written, str) else (picture.id, written)

    def _facts(self, picture: LabelledImage, target: str, name: str) -> dict[str, Any]:
        # The number makes wordings differ between pictures whose facts are equal, and nothing of a patient is in it.
        variant = int(generator(self.settings.seed, name, "wording").integers(1_000_000))
        return {"target": target, "modality": picture.modality, "site": picture.site, "variant": variant}

    def _ask(
        self,
        picture: LabelledImage,
        facts: Mapping[str, Any],
        sample: Callable[[WrittenReply], Sample],
        target: Target | None,
    ) -> Sample | str:
        """The sample, or why no reply could be used."""

        def fault(reply: WrittenReply) -> str | None:
            if mark := find_mark(f"{reply.question} {reply.trace}"):
                return f"it holds {mark}"
            return self.check(picture, sample(reply))

        content: list[dict[str, Any]] = [{"type": "text", "text": json.dumps(facts, sort_keys=True)}]
        if self.model.send_pictures and target is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": outlined(picture, target)}})
        try:
            return sample(ask(self.model, self.model.prompt, WrittenReply, content, fault))
        except UnusableReplyError as error:
            return str(error)


def outlined(picture: LabelledImage, target: Target) -> str:
    """A data URL of the picture, as PNG, with the target's outline drawn in yellow."""
    rgb = picture.image if picture.image.ndim == 3 else np.repeat(picture.image[..., None], 3, axis=2)
    drawn = np.ascontiguousarray(rgb).copy()
    contours, _ = cv2.findContours(target.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _OUTLINE, max(1, max(drawn.shape) // 400))
    return f"data:image/png;base64,{base64.b64encode(encode_png(drawn)).decode()}"


def _text(value: str) -> str:
    return " ".join(value.split())
