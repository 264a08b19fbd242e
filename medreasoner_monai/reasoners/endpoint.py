"""The endpoint engine: a model served elsewhere, by vLLM or a service, behind OpenAI-compatible chat completions."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import Any

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.files import object_digest
from medreasoner_monai.reasoners.chat import PATIENCE, ChatService, Patience
from medreasoner_monai.reasoners.folder import resized
from medreasoner_monai.reasoners.hf import as_rgb
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.answer_lenient import reader as named_reader
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import template

_ROUNDS = 32


@dataclass(frozen=True, slots=True)
class Resize:
    """The rule of a Qwen2.5-VL processor: sides in multiples of ``factor`` pixels, between two areas in square pixels.

    What it makes a server with the same limits, or wider ones, leaves as it is. The defaults are those that the 7B is
    published with.

    Raises
    ------
    ConfigError
        If no size can follow the rule.
    """

    min_pixels: int = 56 * 56
    max_pixels: int = 16384 * 28 * 28
    factor: int = 28

    def __post_init__(self) -> None:
        if self.factor < 1 or not self.factor**2 <= self.max_pixels or not 0 < self.min_pixels <= self.max_pixels:
            raise ConfigError(
                f"pictures of {self.min_pixels} to {self.max_pixels} pixels in steps of {self.factor} do not exist; "
                "give min_pixels up to max_pixels, and max_pixels of at least the factor's square"
            )

    def frame(self, stored: Frame) -> Frame:
        """The frame to send a picture in.

        Raises
        ------
        InputError
            If the picture is too long and thin for the rule.
        """
        limits = {"factor": self.factor, "min_pixels": self.min_pixels, "max_pixels": self.max_pixels}
        size = (stored.height, stored.width)
        # One pass leaves long thin pictures above the upper limit, and the server would resize those again.
        for _ in range(_ROUNDS):
            settled = resized(*size, **limits)
            if settled == size:
                return Frame(settled[1], settled[0], "model")
            size = settled
        raise InputError(
            f"a picture of {stored.width} x {stored.height} finds no size within {limits}; set the limits further apart"
        )


QWEN = Resize()


class EndpointReasoner:
    """Greedy answers of a model behind an OpenAI-compatible chat endpoint: vLLM serving ours, or another's service.

    Pictures and questions, so what they show of a patient, are sent to the endpoint that the caller names, through the
    proxy that the environment names if it does, and nowhere else; no endpoint is built in and no redirect followed.
    Whether they may leave for it is the caller's to decide.

    The picture is sent as PNG in the frame that a Qwen2.5-VL processor would make of it, pixel for pixel, so that the
    server leaves it alone and the answer's coordinates are in a frame known here. What the model wrote is read by a
    reader of :mod:`~medreasoner_monai.task.answer_lenient`; an empty or truncated completion is a ``NoAnswer``.

    Parameters
    ----------
    url:
        The part before ``/chat/completions``, usually ending in ``/v1``.
    model:
        The name it is served under.
    prompt:
        Name of the prompt template.
    reader:
        Name of the answer reader; by default the strict one for the template.
    resize:
        The rule for the frame; None sends pictures as stored, for services of other models.
    max_tokens:
        Longest completion.
    in_flight:
        Requests at once.
    key_variable:
        Name of the environment variable that holds the API key; None sends none.
    seeded:
        Whether requests that draw answers carry a seed, which gives the capability ``seed``. Off by default: a seed
        kills the engine of some servers (vLLM's on a CPU), and others pass over it.
    patience:
        How long to wait for the endpoint.
    wait:
        Waits for an event or so many seconds, and says whether the event came; tests put theirs here.

    Raises
    ------
    InputError
        If the address or the key cannot be used; a ``ConfigError`` if there is no such template or reader.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        prompt: str = "think",
        reader: str | None = None,
        resize: Resize | None = QWEN,
        max_tokens: int = 512,
        in_flight: int = 4,
        key_variable: str | None = None,
        seeded: bool = False,
        patience: Patience = PATIENCE,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        if max_tokens < 1 or in_flight < 1:
            raise InputError(f"max_tokens and in_flight are at least 1, got {max_tokens} and {in_flight}")
        self.service = ChatService(url, key_variable=key_variable, patience=patience)
        self.name = model
        self.model = model
        self.prompt = template(prompt)
        self.reader = reader or ("strict" if self.prompt.think else "strict-direct")
        self.resize = resize
        self.max_tokens = max_tokens
        self.in_flight = in_flight
        self.seeded = seeded
        self._read = named_reader(self.reader)
        self._wait = wait

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Batches are requests in flight at once; drawn answers can be repeated only where seeds are sent."""
        return frozenset({"batch", "sample", "seed"} if self.seeded else {"batch", "sample"})

    @property
    def digest(self) -> str:
        """sha256 over host, path, model, prompt template, reader, frame rule and generation limit.

        What the endpoint serves under the model's name is its own affair and not in it.
        """
        where = [self.service.url.netloc.decode(), self.service.url.path]
        rule = None if self.resize is None else asdict(self.resize)
        return object_digest([*where, self.model, self.prompt.digest, self.reader, rule, self.max_tokens])

    @property
    def prompt_digest(self) -> str:
        """sha256 of the prompt template."""
        return self.prompt.digest

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        """See :class:`~medreasoner_monai.reasoners.protocol.Reasoner`; nothing is sent before all input is checked.

        Raises
        ------
        InputError
            If an image or question cannot be used, or the endpoint refuses key, model or request.
        EndpointError
            If the endpoint stays away, or what it sends is not a chat completion.
        """
        return [readings[0] for readings in self._read_all(images, questions, 1, {"temperature": 0})]

    def sample(
        self, images: Sequence[Image], questions: Sequence[str], count: int, *, temperature: float, seed: int
    ) -> list[list[Reading]]:
        """``count`` readings per question, drawn at ``temperature`` by choices of one request (``n``).

        A service that gives fewer choices than asked for is asked again until there are as many. Where seeds are sent,
        each further request has one of its own; whether a seed draws the same again is the service's affair.
        """
        seeds = {"seed": seed % 2**31} if self.seeded else {}
        return self._read_all(images, questions, count, {"temperature": temperature} | seeds)

    def _read_all(
        self, images: Sequence[Image], questions: Sequence[str], count: int, drawn: dict[str, Any]
    ) -> list[list[Reading]]:
        if len(images) != len(questions):
            raise InputError(f"{len(images)} images but {len(questions)} questions; give one question an image")
        if not images:
            return []
        started = time.perf_counter()
        pictures = [as_rgb(image) for image in images]
        stored = [Frame(p.shape[1], p.shape[0], "stored") for p in pictures]
        seen = [self.seen_frame(frame) for frame in stored]
        chats = [self.prompt.plain(q) for q in questions]
        texts = self._ask(pictures, seen, chats, count, drawn)
        each = (time.perf_counter() - started) / (len(texts) * count)
        return [
            [self._reading(text, given, shown, each) for text in several]
            for several, given, shown in zip(texts, stored, seen, strict=True)
        ]

    def _reading(self, text: str, stored: Frame, seen: Frame, seconds: float) -> Reading:
        answer = self._read(text, seen)
        return Reading(answer.to(stored) if isinstance(answer, Grounding) else answer, text, seen, seconds)

    def seen_frame(self, stored: Frame) -> Frame:
        """The frame in which a picture is sent.

        Raises
        ------
        InputError
            If the picture is too long and thin for the rule.
        """
        return Frame(stored.width, stored.height, "model") if self.resize is None else self.resize.frame(stored)

    def _ask(
        self,
        pictures: list[Image],
        seen: list[Frame],
        chats: list[list[dict[str, str]]],
        count: int,
        drawn: dict[str, Any],
    ) -> list[list[str]]:
        stop = threading.Event()

        def one(picture: Image, frame: Frame, chat: list[dict[str, str]]) -> list[str]:
            request = self._request(picture, frame, chat) | drawn
            texts: list[str] = []
            while len(texts) < count:
                more = {"n": count - len(texts)} if count > 1 else {}
                if "seed" in drawn:
                    more["seed"] = drawn["seed"] + len(texts)
                texts += self.service.complete(client, request | more, lambda s: self._wait(stop, s))
            return texts[:count]

        with self.service.client(self.in_flight) as client, ThreadPoolExecutor(self.in_flight) as pool:
            asked = [pool.submit(one, *each) for each in zip(pictures, seen, chats, strict=True)]
            try:
                for done in as_completed(asked):
                    done.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [done.result() for done in asked]

    def _request(self, picture: Image, frame: Frame, chat: list[dict[str, str]]) -> dict[str, Any]:
        *before, user = chat
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(in_frame(picture, frame))}},
            {"type": "text", "text": user["content"]},
        ]
        return {
            "model": self.model,
            "messages": [*before, {"role": "user", "content": content}],
            "max_tokens": self.max_tokens,
        }


def in_frame(picture: Image, frame: Frame) -> Image:
    """An RGB picture ``(rows, cols, 3)`` in a frame's size, resized as a Qwen2.5-VL processor does it."""
    if picture.shape[:2] == (frame.height, frame.width):
        return picture
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as tvf

    planes = torch.tensor(picture).permute(2, 0, 1)
    size = [frame.height, frame.width]
    made: Image = tvf.resize(planes, size, interpolation=InterpolationMode.BICUBIC, antialias=True).numpy()
    return made.transpose(1, 2, 0)


def _data_url(picture: Image) -> str:
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
