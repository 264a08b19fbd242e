"""Chat completions over HTTP, as vLLM and most services speak them: one request, sent again while that may help."""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from medreasoner_monai.errors import EndpointError, InputError, nearest

_AGAIN = (408, 425, 429)
_WORD = re.compile(r"[A-Za-z][\w.-]{0,59}")
_SECONDS = re.compile(r"\d+(\.\d+)?")

Wait = Callable[[float], bool]
"""Waits so many seconds and says whether to give up, as ``threading.Event.wait`` does."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a service is waited for.

    ``timeout`` in seconds for a connection and for each silence in an answer, ``tries`` in all, then the pauses between
    them in seconds: ``first_pause``, doubled each time up to ``longest_pause``. A service that asks for a longer pause
    gets it up to ``longest_pause``; one that asks for more is given up.
    """

    timeout: float = 120.0
    tries: int = 6
    first_pause: float = 1.0
    longest_pause: float = 60.0

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.tries < 1 or not 0 <= self.first_pause <= self.longest_pause:
            raise InputError(f"waiting needs a timeout above 0, a try, and a first pause up to the longest; got {self}")


PATIENCE = Patience()


class ChatService:
    """An OpenAI-compatible service at ``url`` (``https://host/v1``).

    Parameters
    ----------
    url:
        The part before ``/chat/completions``, without user name, password, query or fragment.
    key_variable:
        Name of the environment variable that holds the API key; without one no key is sent. The key itself is in no
        message, digest or representation.
    patience:
        How long to wait for it.

    Raises
    ------
    InputError
        If it is not an address, or carries credentials; if the variable is not set, or does not hold a key.
    """

    def __init__(self, url: str, *, key_variable: str | None = None, patience: Patience = PATIENCE) -> None:
        self.url = _address(url)
        self.key_variable = key_variable
        self.patience = patience
        self._key = None if key_variable is None else _key(key_variable)

    def __repr__(self) -> str:
        return f"ChatService({str(self.url)!r})"

    def client(self, connections: int) -> httpx.Client:
        """A client for so many connections at once. It follows no redirect: pictures go to the named host alone."""
        return httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self.patience.timeout,
            limits=httpx.Limits(max_connections=connections),
            follow_redirects=False,
        )

    def complete(
        self,
        client: httpx.Client,
        request: dict[str, Any],
        wait: Wait,
        used: Callable[[dict[str, Any]], None] | None = None,
    ) -> list[str]:
        """The texts of the choices, at least one; empty where the model wrote nothing.

        ``used`` is given the ``usage`` object of the answer (``prompt_tokens`` and others) where there is one.

        Raises
        ------
        InputError
            If the service refuses the key, the model or the request.
        EndpointError
            If it stays away, or what it sends is not a chat completion.
        """
        for attempt in range(self.patience.tries):
            asked = 0.0
            try:
                response = client.post(f"{self.url}/chat/completions", json=request)
            except httpx.TimeoutException:
                trouble = f"no answer within {self.patience.timeout:g} s"
            except httpx.ConnectError as error:
                trouble = f"no connection ({error})"
            except httpx.RequestError as error:
                trouble = f"a broken connection ({type(error).__name__})"  # its text may quote what was sent
            else:
                if response.is_success:
                    texts = self._texts(response)
                    if used is not None and isinstance(usage := response.json().get("usage"), dict):
                        used(usage)
                    return texts
                if response.status_code not in _AGAIN and response.status_code < 500:
                    raise self._refusal(client, response, str(request.get("model")))
                trouble, asked = f"status {response.status_code}", _retry_after(response)
            if asked > self.patience.longest_pause:
                trouble += f" and the wish to be left alone for {asked:.0f} s"
                break
            pause = min(self.patience.first_pause * 2**attempt, self.patience.longest_pause)
            if attempt + 1 == self.patience.tries or wait(max(asked, pause)):
                break
        raise EndpointError(
            f"{self.url} stays away: {trouble} at try {attempt + 1} of {self.patience.tries}; "
            "see whether it is running and can be reached, and ask again"
        )

    def _texts(self, response: httpx.Response) -> list[str]:
        try:
            first, *rest = response.json()["choices"]
            return [_content(choice["message"].get("content")) for choice in (first, *rest)]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise EndpointError(
                f"{self.url} answered with something that is not a chat completion; is it an OpenAI-compatible service?"
            ) from None

    def _refusal(self, client: httpx.Client, response: httpx.Response, model: str) -> InputError:
        """What the user can do about a status that no second try changes.

        The service's own words are left out: some quote the question, the picture or the key.
        """
        status = response.status_code
        if status in (401, 403):
            if self.key_variable is None:
                return InputError(f"{self.url} wants a key ({status}): name the environment variable that holds it")
            return InputError(f"{self.url} refuses the key in {self.key_variable} ({status}); check it")
        if response.is_redirect:
            return InputError(f"{self.url} redirects ({status}); give the address that it leads to")
        code = _code(response)
        if status == 404 or code == "model_not_found":
            known = self._models(client)
            if not known or model in known:
                return InputError(
                    f"{self.url} has no chat completions of a model {model!r} ({status}); check the model's name, "
                    "and the address, which usually ends in /v1"
                )
            return InputError(
                f"{self.url} has no model {model!r}.{nearest(model, known)} Known: {', '.join(known[:20])}"
            )
        return InputError(
            f"{self.url} does not take the request ({status}{f', {code}' if code else ''}); does {model!r} look at "
            "pictures, and do picture, question and max_tokens fit into its context?"
        )

    def _models(self, client: httpx.Client) -> list[str] | None:
        try:
            return [str(row["id"]) for row in client.get(f"{self.url}/models").raise_for_status().json()["data"]]
        except (httpx.HTTPError, ValueError, LookupError, TypeError, RecursionError):
            return None


def _address(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise InputError("the endpoint's address cannot be read; it looks like https://host:8000/v1") from None
    bare = httpx.URL(scheme=url.scheme, host=url.host, port=url.port, path=url.path.rstrip("/"))
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
        raise InputError(f"{bare} is not the address of an endpoint; it looks like https://host:8000/v1")
    if url.userinfo or url.query or url.fragment:
        raise InputError(
            f"the address {bare} was given with a user name, password, query or fragment; leave them out and name an "
            "environment variable that holds the key"
        )
    return bare


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"the environment variable {variable} is not set or empty; it should hold the endpoint's key")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"what {variable} holds is not a key: it has characters that a header cannot carry")
    return key


def _retry_after(response: httpx.Response) -> float:
    """Seconds the service asks to be left alone, from a number or a date; 0 where it asks for nothing readable."""
    text = response.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _code(response: httpx.Response) -> str:
    """The error's name if it is one word, so that nothing of the request can stand in it."""
    try:
        body = response.json()
        error = body.get("error", body)
        return next(
            (e for e in (error.get("code"), error.get("type")) if isinstance(e, str) and _WORD.fullmatch(e)), ""
        )
    except (ValueError, AttributeError, RecursionError):
        return ""


def _content(content: Any) -> str:
    """A message's text, whole or in parts; a ``TypeError`` where it has none."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError("no text")
    # JSON may hold half a surrogate pair, which no UTF-8 file takes.
    return (content or "").encode("utf-8", "replace").decode("utf-8")
