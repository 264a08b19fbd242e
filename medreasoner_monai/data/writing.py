"""Writers and their checks, as settings name them."""

from __future__ import annotations

from medreasoner_monai.data.verify import Verifier
from medreasoner_monai.data.writers.absent import Census
from medreasoner_monai.data.writers.by_name import NameWriter
from medreasoner_monai.data.writers.llm import LanguageModelWriter
from medreasoner_monai.data.writers.llm_judge import LanguageModelJudge
from medreasoner_monai.data.writers.protocol import Writer
from medreasoner_monai.data.writers.rules import RuleWriter
from medreasoner_monai.settings.data import QuestionSettings


def build_writer(settings: QuestionSettings, census: Census) -> Writer:
    """The writer that settings name, for a data set that shows what the census counts."""
    if settings.llm is not None:
        return LanguageModelWriter(settings, settings.llm, Verifier(settings.max_grade).reason, census)
    return NameWriter() if settings.writer == "name" else RuleWriter(settings, census)


def build_verifier(settings: QuestionSettings) -> Verifier | None:
    """The checks of what the writer wrote; none for questions that name their target on purpose."""
    if settings.writer == "name":
        return None
    return Verifier(settings.max_grade, None if settings.judge is None else LanguageModelJudge(settings.judge))
