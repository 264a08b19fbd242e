"""A language model's opinion on whether a question asks for its target alone, without naming it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.writers.llm_client import UnusableReplyError, ask, prompt_digest
from medreasoner_monai.settings.language_model import LanguageModelSettings

_PROMPT = "judge-v1"
_REASON = 200  # characters


class Opinion(BaseModel):
    """What the model is to reply."""

    model_config = ConfigDict(extra="forbid")

    keep: bool
    reason: str = Field(max_length=400)


@dataclass(frozen=True)
class LanguageModelJudge:
    """Sees the texts and the names of what is outlined, never the picture."""

    model: LanguageModelSettings

    def identity(self) -> dict[str, Any]:
        """The prompt's digest, and the settings that decide an opinion."""
        return {"prompt": prompt_digest(_PROMPT), "model": self.model.deciding()}

    def __call__(self, picture: LabelledImage, sample: Sample) -> str | None:
        """The judge's reason against a sample; None where it has none."""
        facts = {
            "question": sample.question,
            "trace": sample.trace,
            "target": sample.category,
            "visible": sample.present,
            "outlined": sorted({target.name for target in picture.targets}),
            "modality": picture.modality,
            "site": picture.site,
        }
        content = [{"type": "text", "text": json.dumps(facts, sort_keys=True)}]
        try:
            reply = ask(self.model, _PROMPT, Opinion, content, lambda _: None)
        except UnusableReplyError as error:
            return f"the judge gave no opinion: {error}"
        return None if reply.keep else f"the judge refuses it: {' '.join(reply.reason.split())[:_REASON]}"
