"""What identifies a finding wherever it stands: its tracking UID."""

from __future__ import annotations

from medreasoner_monai.dicom.uids import derived_uid
from medreasoner_monai.grounding.plan import Plan
from medreasoner_monai.grounding.request import Question
from medreasoner_monai.reasoners.protocol import Reasoner
from medreasoner_monai.segmenters.protocol import Segmenter


def tracking_uid(plan: Plan, question: Question, reasoner: Reasoner, segmenter: Segmenter[object]) -> str:
    """The same for the same question of the same series, asked the same way of the same models; a DICOM UID.

    So a finding keeps its identity when it is answered again. Another model, prompt, rendering rule or way to ask makes
    it another one.
    """
    settings = plan.settings
    # A single answer is the likeliest one: nothing is drawn, and nothing withheld.
    drawn = (settings.answers, settings.temperature, settings.seed, settings.threshold) if settings.answers > 1 else ()
    return derived_uid(
        "finding",
        plan.series.key,
        question.text,
        question.category or "",
        reasoner.digest,
        segmenter.digest,
        reasoner.prompt_digest,
        settings.rendering.digest,
        repr((plan.slices, plan.carry, *drawn)),
    )
