"""Structured replies of a language model: asked again while they are of no use, and kept so that a rerun is free."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml
from pydantic import BaseModel, ValidationError

from medreasoner_monai.data.writers.spending import Spending, spend
from medreasoner_monai.errors import ConfigError, MedReasonerError
from medreasoner_monai.files import object_digest, write_json
from medreasoner_monai.reasoners.chat import ChatService, Patience
from medreasoner_monai.settings.language_model import LanguageModelSettings

_PROMPTS = Path(__file__).with_name("prompts")
Message = dict[str, Any]
R = TypeVar("R", bound=BaseModel)


class UnusableReplyError(MedReasonerError):
    """No reply could be used; the message says what was wrong with the last."""


@cache
def load_prompt(name: str) -> Mapping[str, Any]:
    """A versioned prompt: the text of its ``system`` message.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    known = sorted(path.stem for path in _PROMPTS.glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"there is no prompt {name!r}; known are {', '.join(known)}")
    found: Mapping[str, Any] = yaml.safe_load((_PROMPTS / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def prompt_digest(name: str) -> str:
    """sha256 over a prompt."""
    return object_digest(load_prompt(name))


def ask(
    settings: LanguageModelSettings,
    prompt: str,
    form: type[R],
    content: Sequence[Message],
    fault: Callable[[R], str | None],
) -> R:
    """The first usable reply to a prompt.

    Parameters
    ----------
    settings:
        The endpoint. Raises a ``ConfigError`` where the prompt is unknown.
    prompt:
        Name of the prompt.
    form:
        The reply's schema.
    content:
        Parts of the user's message, as the chat completions API has them.
    fault:
        Why a reply of the right form cannot be used; None where it can.

    Raises
    ------
    UnusableReplyError
        If none of ``settings.replies`` replies could be used.
    InputError
        If the endpoint refuses key, model or request.
    EndpointError
        If it stays away.
    """
    chosen = load_prompt(prompt)
    messages: list[Message] = [
        {"role": "system", "content": chosen["system"]},
        {"role": "user", "content": list(content) if len(content) > 1 else content[0]["text"]},
    ]
    reason: str | None = None
    for _ in range(settings.replies):
        text = _reply(settings, _request(settings, form.model_json_schema(), messages))
        reply, reason = _parsed(text, form)
        if reply is not None and (reason := fault(reply)) is None:
            return reply
        messages += [
            {"role": "assistant", "content": text or "(empty)"},
            {
                "role": "user",
                "content": f"This reply cannot be used: {reason}. Reply again, with the JSON object alone.",
            },
        ]
    raise UnusableReplyError(
        f"none of {settings.replies} replies of {settings.model} could be used; the last: {reason}"
    )


def _parsed(text: str, form: type[R]) -> tuple[R | None, str | None]:
    """The JSON object of a reply, or why there is none; a code fence around it is taken off."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.strip("`").removeprefix("json").strip()
    try:
        return form.model_validate_json(bare), None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, f"{where}: {first['msg']}" if where else "it is not JSON"


def _request(settings: LanguageModelSettings, schema: Mapping[str, Any], messages: list[Message]) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
    return {
        "model": settings.model,
        "messages": list(messages),
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
    } | ({"response_format": form} if settings.structured else {})


def _reply(settings: LanguageModelSettings, request: dict[str, Any]) -> str:
    """From the cache, or from the service and then into the cache."""
    service = _service(settings.url, settings.key_variable, settings.timeout, settings.tries, settings.longest_pause)
    key = object_digest([str(service.url), request])
    path = _cache_folder(settings) / key[:2] / f"{key}.json"
    if (kept := _kept(path)) is not None:
        spend(Spending(cached=1))
        return kept
    used: dict[str, Any] = {}
    (text, *_) = service.complete(_client(service, settings.in_flight), request, _wait, used.update)
    spent = Spending(1, 0, _count(used, "prompt_tokens"), _count(used, "completion_tokens"))
    spend(spent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"text": text, "model": settings.model, "tokens": [spent.tokens_in, spent.tokens_out]})
    return text


def _count(used: Mapping[str, Any], name: str) -> int:
    value = used.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _kept(path: Path) -> str | None:
    try:
        text = json.loads(path.read_text(encoding="utf-8"))["text"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # a cache that cannot be read costs a request, nothing else
    return text if isinstance(text, str) else None


def _cache_folder(settings: LanguageModelSettings) -> Path:
    if settings.cache is not None:
        return settings.cache
    root = os.environ.get("MEDREASONER_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "medreasoner"
    )
    return Path(root) / "replies"


def _wait(seconds: float) -> bool:
    return threading.Event().wait(seconds)


@lru_cache
def _service(url: str, key: str | None, timeout: float, tries: int, longest: float) -> ChatService:
    patience = Patience(timeout, tries, min(1.0, longest), longest)
    return ChatService(url, key_variable=key, patience=patience)


@lru_cache
def _client(service: ChatService, connections: int) -> httpx.Client:
    """One a process: connections are kept open between pictures."""
    return service.client(connections)
