"""From what a user names on the command line to the one who answers, the segmenters and the samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow.parquet as pq

from medreasoner_monai.data.folders import folder_digest, folder_samples
from medreasoner_monai.data.schema import Sample
from medreasoner_monai.data.sources import Reject, parquet_samples
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.evaluation.answerers import Answerer, Asked, CentreBox, Consensus, Predictions, Truth
from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.files import file_digest
from medreasoner_monai.reasoners.consensus import Sampler
from medreasoner_monai.reasoners.packaged import is_bundle, verified_model
from medreasoner_monai.segmenters.registry import Choice
from medreasoner_monai.segmenters.weights import weights_digest

BLANK = "blank-image:"
_YARDSTICKS: dict[str, Answerer] = {who.name: who for who in (Truth(), CentreBox())}


@dataclass
class Data:
    """Samples to evaluate on, read from the start each time; ``rejects`` fills while they are read."""

    path: Path
    digest: str
    total: int
    rejects: list[Reject] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> Data:
        """A parquet file in the U-MRG schema, or a folder with ``images`` and ``masks``.

        Raises
        ------
        InputError
            If it is neither.
        """
        if path.is_dir():
            return cls(path, folder_digest(path), len(list((path / "masks").glob("*.png"))))
        try:
            return cls(path, file_digest(path), pq.read_metadata(path).num_rows)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # pyarrow's errors are its kind
            raise InputError(f"{path} is no parquet file ({error})") from None

    def samples(self) -> Iterator[Sample]:
        """The good ones, in order."""
        self.rejects.clear()
        for item in folder_samples(self.path) if self.path.is_dir() else parquet_samples(self.path):
            if isinstance(item, Reject):
                self.rejects.append(item)
            else:
                yield item


@dataclass(frozen=True)
class Asking:
    """How a model is to be asked; what is None is left to the model's own folder."""

    prompt: str | None = None
    reader: str | None = None
    max_new_tokens: int = 512
    model: str | None = None
    key_variable: str | None = None
    samples: int = 1
    temperature: float = 0.7
    threshold: float = 0.0


def answerer(name: str, asking: Asking) -> Answerer:
    """Who is meant by a name.

    Parameters
    ----------
    name:
        ``truth``, ``centre-box``, a model folder, a bundle folder, a file of predictions (``.jsonl``), the URL of an
        OpenAI-compatible endpoint, or one of the last four behind ``blank-image:``.

    Raises
    ------
    InputError
        If there is nothing of that name.
    """
    if name in _YARDSTICKS:
        return _YARDSTICKS[name]
    if name.startswith(BLANK):
        seeing = answerer(name.removeprefix(BLANK), replace(asking, samples=1))
        if not isinstance(seeing, Asked):
            raise ConfigError(f"{name}: only a model can be shown blank images")
        return Asked(seeing.reasoner, blank=True)
    path = Path(name)
    if path.suffix == ".jsonl":
        return Predictions(path, asking.reader or "strict")
    if name.startswith(("http://", "https://")):
        return _asked(_endpoint(name, asking), asking)
    if is_bundle(path):
        path = verified_model(path)
    elif not path.is_dir():
        known = f"{', '.join(_YARDSTICKS)}, {BLANK}MODEL, a model or bundle folder, a .jsonl file, or an endpoint's URL"
        raise InputError(f"there is no reasoner {name!r}; give one of: {known}")
    import torch

    from medreasoner_monai.reasoners.hf import HuggingFaceReasoner

    device = "cuda" if torch.cuda.is_available() else "cpu"
    reasoner = HuggingFaceReasoner.load(path, prompt=asking.prompt, device=device, max_new_tokens=asking.max_new_tokens)
    return _asked(reasoner, asking)


def _asked(reasoner: Sampler, asking: Asking) -> Answerer:
    if asking.samples > 1:
        return Consensus(reasoner, asking.samples, asking.temperature, threshold=asking.threshold)
    return Asked(reasoner)


def _endpoint(url: str, asking: Asking) -> Sampler:
    from medreasoner_monai.reasoners.endpoint import QWEN, EndpointReasoner

    if not asking.model:
        raise ConfigError(f"{url} may serve several models; say which with --model")
    return EndpointReasoner(
        url,
        asking.model,
        prompt=asking.prompt or "think",
        reader=asking.reader,
        resize=None if asking.reader == "lenient-1000" else QWEN,
        max_tokens=asking.max_new_tokens,
        key_variable=asking.key_variable,
    )


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


def weights_digests(texts: Sequence[str]) -> dict[str, str]:
    """sha256 of the weights that segmenters as in :func:`segmenters` name, by their text.

    Raises
    ------
    InputError
        If such a file cannot be read.
    """
    chosen = {text: Choice.read(text).options.get("weights") for text in texts}
    return {text: weights_digest(Path(weights)) for text, weights in chosen.items() if weights is not None}
