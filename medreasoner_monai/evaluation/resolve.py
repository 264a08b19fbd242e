"""What a user names on the command line, resolved: the answerer, the segmenters and the samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from medreasoner_monai.data.cleaning import Cleaner
from medreasoner_monai.data.rejects import Ids, Reject
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.sources.folders import folder_sources
from medreasoner_monai.data.sources.parquet import parquet_samples
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.data.writers.absent import Census
from medreasoner_monai.data.writing import build_writer
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.evaluation.answerers import (
    Answerer,
    CentreBox,
    ConsensusAnswerer,
    ModelAnswerer,
    Predictions,
    Truth,
)
from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.files import file_digest, object_digest
from medreasoner_monai.reasoners.protocol import sampler
from medreasoner_monai.reasoners.registry import ReasonerOptions, build, kind_of
from medreasoner_monai.segmenters.registry import Choice
from medreasoner_monai.settings.data import CleanSettings, QuestionSettings
from medreasoner_monai.settings.sources import FolderSettings

BLANK = "blank-image:"
_YARDSTICKS: dict[str, Answerer] = {answerer.name: answerer for answerer in (Truth(), CentreBox())}


_AS_IT_IS = CleanSettings(
    min_pixels=None,
    min_share=None,
    max_share=None,
    max_border=None,
    min_largest=None,
    max_overlap=None,
    model_side=None,
    min_contrast=None,
    min_range=None,
)
"""What is evaluated is not chosen by how hard it is."""


@dataclass
class Data:
    """Samples to evaluate on, read from the start each time; ``rejects`` fills while they are read."""

    path: Path
    digest: str
    total: int
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    rejects: list[Reject] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, questions: QuestionSettings | None = None) -> Data:
        """A Parquet file in the U-MRG schema, a folder with ``images`` and ``masks``, or a folder of such folders.

        Parameters
        ----------
        questions:
            How a folder's masks are asked for, by rule by default; a Parquet file has its own questions.

        Raises
        ------
        InputError
            If it is neither.
        """
        if path.is_dir():
            asked = questions or QuestionSettings()
            found = folder_sources(FolderSettings(kind="folder", path=path))
            total = sum(unit.masks for source in found for unit in source.units())
            made = [*(source.identity() for source in found), build_writer(asked, Census()).identity()]
            return cls(path, object_digest(made), total, asked)
        try:
            return cls(path, file_digest(path), pq.read_metadata(path).num_rows)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # pyarrow's errors are its kind
            raise InputError(f"{path} is not a Parquet file ({error})") from None

    def samples(self) -> Iterator[Sample]:
        """The good ones, in order."""
        self.rejects.clear()
        for item in self._items():
            if isinstance(item, Reject):
                self.rejects.append(item)
            else:
                yield item

    def _items(self) -> Iterator[Sample | Reject]:
        if not self.path.is_dir():
            yield from parquet_samples(self.path)
            return
        sources = folder_sources(FolderSettings(kind="folder", path=self.path))
        census = Census.of(unit for source in sources for unit in source.units())
        steps, ids = Steps(build_writer(self.questions, census), Cleaner(_AS_IT_IS)), Ids()
        for source in sources:
            for unit in source.units():
                for made in steps.run(source, unit, Account()):
                    if isinstance(made, Reject):
                        yield made
                    else:
                        reason = ids.refuse(made.sample.id, made.where)
                        yield made.sample if reason is None else Reject(made.where, reason)


@dataclass(frozen=True)
class Sampling:
    """How many answers per sample are drawn, at which temperature, and the confidence below which none is given."""

    answers: int = 1
    temperature: float = 0.7
    threshold: float = 0.0


def build_answerer(text: str, options: ReasonerOptions | None = None, sampling: Sampling | None = None) -> Answerer:
    """The answerer that a text names.

    Parameters
    ----------
    text:
        ``truth``, ``truth:jitter=0.1``, ``centre-box``, a model folder, a bundle folder, a file of predictions
        (``.jsonl``), the URL of an OpenAI-compatible endpoint, or a folder, bundle or URL behind ``blank-image:``.
    options:
        How a reasoner is made; a file of predictions takes its ``reader``.
    sampling:
        How a reasoner's answers are drawn; pictures that are blank get one answer.

    Raises
    ------
    InputError
        If there is nothing of that name, or the reasoner cannot draw several answers.
    """
    made, drawn = options or ReasonerOptions(), sampling or Sampling()
    if text in _YARDSTICKS:
        return _YARDSTICKS[text]
    if text.startswith("truth:"):
        return Truth.read(text)
    blank = text.startswith(BLANK)
    named = text.removeprefix(BLANK)
    if blank and (named in _YARDSTICKS or Path(named).suffix == ".jsonl"):
        raise ConfigError(f"{text}: only a model can be shown blank images")
    if Path(named).suffix == ".jsonl":
        return Predictions(Path(named), made.reader or "strict")
    if kind_of(named) is None:
        known = f"{', '.join(_YARDSTICKS)}, {BLANK}MODEL, a model or bundle folder, a .jsonl file, or an endpoint's URL"
        raise InputError(f"there is no reasoner {named!r}; give one of: {known}")
    reasoner = build(named, made)
    if drawn.answers > 1 and not blank:
        return ConsensusAnswerer(sampler(reasoner), drawn.answers, drawn.temperature, threshold=drawn.threshold)
    return ModelAnswerer(reasoner, blank=blank)


def segmenters(texts: Sequence[str], cache: Path | None = None) -> dict[str, Embeddings]:
    """Segmenters by label, each as :class:`~medreasoner_monai.segmenters.registry.Choice` reads it.

    >>> list(segmenters(["ellipse", "other=ellipse"]))
    ['ellipse', 'other']

    Raises
    ------
    ConfigError
        If a text is not of this form, an engine does not take an option, or two have one label.
    """
    choices = [Choice.read(text) for text in texts]
    for label, times in Counter(c.label for c in choices).items():
        if times > 1:
            raise ConfigError(
                f"{times} segmenters are called {label!r}; tell them apart, such as a={label}:… and b={label}:…"
            )
    return {c.label: Embeddings(c.build(), cache) for c in choices}
