"""Reasoners as a config or the command line names them: a model folder, a bundle, or an endpoint's URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.reasoners.packaged import MODEL, is_bundle, verify_model
from medreasoner_monai.reasoners.protocol import Reasoner
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import Template, template

if TYPE_CHECKING:
    from medreasoner_monai.reasoners.endpoint import EndpointReasoner

Kind = Literal["endpoint", "bundle", "folder"]


@dataclass(frozen=True)
class ReasonerOptions:
    """How a reasoner is made.

    Attributes
    ----------
    prompt:
        Name of the prompt template; None is what the model folder says it was trained with, else ``think``.
    max_new_tokens:
        Longest completion.
    device:
        As torch names it; None is a GPU where there is one. Not for endpoints.
    model:
        The name under which an endpoint serves the model; endpoints need it.
    reader:
        How an endpoint's answers are read; None is the strict reader of the template.
    key_variable:
        Name of the environment variable that holds an endpoint's API key.
    seeded:
        Whether an endpoint is sent a seed with each request that draws answers; some servers do not survive one.
    """

    prompt: str | None = None
    max_new_tokens: int = 512
    device: str | None = None
    model: str | None = None
    reader: str | None = None
    key_variable: str | None = None
    seeded: bool = False


@dataclass(frozen=True)
class Preview:
    """What a reasoner would be shown, known without loading it.

    ``prompt`` is its template, ``seen_frame`` gives the frame in which it sees a stored picture, and ``address`` is
    where pictures and questions would be sent, empty for a model on this machine.
    """

    prompt: Template
    seen_frame: Callable[[Frame], Frame]
    address: str = ""


def kind_of(text: str) -> Kind | None:
    """What a text names, or None if there is nothing of that name."""
    if text.startswith(("http://", "https://")):
        return "endpoint"
    if is_bundle(Path(text)):
        return "bundle"
    return "folder" if Path(text).is_dir() else None


def build(text: str, options: ReasonerOptions | None = None) -> Reasoner:
    """The reasoner that a text names; a model on this machine is loaded, a bundle's after its files were verified.

    Raises
    ------
    InputError
        If there is nothing of that name, or it is not a model folder; a ``ConfigError`` if an endpoint's model is not
        named, or there is no such prompt template or reader.
    ArtifactError
        If a bundle's file is missing or has changed.
    """
    chosen = options or ReasonerOptions()
    kind = _existing(text)
    if kind == "endpoint":
        return _endpoint(text, chosen)
    import torch

    from medreasoner_monai.reasoners.hf import HuggingFaceReasoner

    digests = verify_model(Path(text)) if kind == "bundle" else None
    return HuggingFaceReasoner.load(
        _folder(text),
        prompt=chosen.prompt,
        device=chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        max_new_tokens=chosen.max_new_tokens,
        file_digests=digests,
    )


def preview(text: str, options: ReasonerOptions | None = None) -> Preview:
    """What the reasoner that a text names would be shown; nothing is loaded but a processor's settings, nothing sent.

    Raises
    ------
    InputError
        As :func:`build`.
    """
    chosen = options or ReasonerOptions()
    if _existing(text) == "endpoint":
        endpoint = _endpoint(text, chosen)
        return Preview(endpoint.prompt, endpoint.seen_frame, str(endpoint.service.url))
    from medreasoner_monai.reasoners.folder import load_processor, read_note, seen_frame

    folder = _folder(text)
    processor = load_processor(folder)
    prompt = template(chosen.prompt or read_note(folder).get("prompt", "think"))
    return Preview(prompt, lambda stored: seen_frame(processor, stored))


def _existing(text: str) -> Kind:
    kind = kind_of(text)
    if kind is None:
        raise InputError(f"there is no reasoner {text!r}; give a model folder, a bundle folder or an endpoint's URL")
    return kind


def _folder(text: str) -> Path:
    """The model folder of a bundle, or the folder itself."""
    return Path(text) / MODEL if is_bundle(Path(text)) else Path(text)


def _endpoint(url: str, options: ReasonerOptions) -> EndpointReasoner:
    from medreasoner_monai.reasoners.endpoint import QWEN, EndpointReasoner

    if not options.model:
        raise ConfigError(f"{url} may serve several models; say which with --model")
    return EndpointReasoner(
        url,
        options.model,
        prompt=options.prompt or "think",
        reader=options.reader,
        resize=None if options.reader == "lenient-1000" else QWEN,
        max_tokens=options.max_new_tokens,
        key_variable=options.key_variable,
        seeded=options.seeded,
    )
