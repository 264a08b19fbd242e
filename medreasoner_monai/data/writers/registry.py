"""Writers and their checks, as settings name them."""

from __future__ import annotations

from medreasoner_monai.data.verify import Verifier
from medreasoner_monai.data.writers.absent import Census
from medreasoner_monai.data.writers.by_name import NameWriter
from medreasoner_monai.data.writers.protocol import Writer
from medreasoner_monai.data.writers.rules import RuleWriter
from medreasoner_monai.settings.data import QuestionSettings


def build_writer(settings: QuestionSettings, census: Census) -> Writer:
    """The writer that settings name, for a data set that shows what the census counts."""
    return NameWriter() if settings.writer == "name" else RuleWriter(settings, census)


def build_verifier(settings: QuestionSettings) -> Verifier | None:
    """The checks of what the writer wrote; none for questions that name their target on purpose."""
    return None if settings.writer == "name" else Verifier(settings.max_grade)
