"""A real model behind the endpoint: it sees the same pixels as a local one and so says the same."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medreasoner_monai.reasoners.endpoint import EndpointReasoner, Resize
from medreasoner_monai.reasoners.folder import load_processor, seen_frame
from medreasoner_monai.reasoners.hf import HuggingFaceReasoner, as_rgb
from medreasoner_monai.task.answer import Grounding, render
from medreasoner_monai.task.geometry import Box, Frame, Points
from tests.reasoners.chat_server import Reply, Request, completion, serve

pytestmark = pytest.mark.usefixtures("no_proxy")

TINY = Resize(min_pixels=4 * 28 * 28, max_pixels=112 * 112)
QUESTION = "Where is the bright area?"
LENGTH = 40
STEPS = 70
LONG = [(20, 500), (28, 700)]
"""(rows, cols) so long that one pass of the processor's rule leaves them above its upper limit."""


def pictures() -> list[Any]:
    """Pictures that the processor enlarges, shrinks and takes as they are; the last one in colour."""
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 60, size, dtype=np.uint8) for size in [(40, 60), (300, 200), (56, 84), (97, 31)]]
    for n, image in enumerate(made):
        image[: image.shape[0] // 2, : image.shape[1] // (n + 1)] += 150
    return [*made, rng.integers(0, 256, (150, 90, 3), dtype=np.uint8)]


def stored_frame(image: Any) -> Frame:
    return Frame(image.shape[1], image.shape[0])


@pytest.fixture(scope="module")
def taught(tiny_model: Path) -> HuggingFaceReasoner:
    """A model that has learnt another answer for each of the pictures, to one question."""
    reasoner = HuggingFaceReasoner.load(tiny_model, prompt="brief", max_new_tokens=LENGTH)
    processor, model = reasoner.processor, reasoner.model
    chat = processor.apply_chat_template(reasoner.prompt.messages(QUESTION), add_generation_prompt=True, tokenize=False)
    answers = []
    for n, image in enumerate(pictures()):
        seen = seen_frame(processor, stored_frame(image))
        box, points = Box(n, 2 * n, 20 + 3 * n, 25 + n, seen), Points((9 + n, 8), (12, 20 - n), seen)
        answers.append(render("It is bright.", box, points) + "<|im_end|>")
    processor.tokenizer.padding_side = "right"
    images = [as_rgb(image) for image in pictures()]
    inputs = processor(images=images, text=[chat + a for a in answers], padding=True, return_tensors="pt")
    processor.tokenizer.padding_side = "left"
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    start = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    for row in labels:
        row[: row.eq(start).nonzero()[-1, 0] + 3] = -100  # until "<|im_start|>assistant" and its line's end
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(STEPS):
        optimiser.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimiser.step()
    model.eval()
    return reasoner


class Served:
    """The model behind a server: answers whatever chat it is sent."""

    def __init__(self, local: HuggingFaceReasoner) -> None:
        self.processor, self.model = local.processor, local.model
        self.lock = threading.Lock()

    def __call__(self, request: Request, before: int) -> Reply:
        chat = [dict(message) for message in request.body["messages"]]
        chat[-1]["content"] = [{"type": "image"}, {"type": "text", "text": request.question}]
        text = self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        with self.lock:
            inputs = self.processor(images=[request.picture], text=[text], return_tensors="pt")
            out = self.model.generate(**inputs, do_sample=False, max_new_tokens=request.body["max_tokens"])
        return completion(self.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def test_a_served_model_answers_as_it_does_here(taught: HuggingFaceReasoner) -> None:
    images = pictures()
    questions = [QUESTION] * len(images)
    with serve(Served(taught)) as server:
        reasoner = EndpointReasoner(server.url, "tiny", prompt="brief", resize=TINY, max_tokens=LENGTH)
        readings = reasoner.answer(images, questions)

    expected = taught.answer(images, questions)
    assert [(r.text, r.answer, r.seen) for r in readings] == [(r.text, r.answer, r.seen) for r in expected]
    # It is the picture that decides.
    assert len({r.text for r in readings}) == len(images)
    assert all(isinstance(r.answer, Grounding) for r in readings)


def test_the_picture_arrives_as_the_processor_would_have_made_it(tiny_model: Path) -> None:
    processor = load_processor(tiny_model)
    images = pictures()
    questions = [f"number {n}?" for n in range(len(images))]
    with serve(lambda request, _: completion(request.question)) as server:
        readings = EndpointReasoner(server.url, "tiny", resize=TINY).answer(images, questions)

    arrived = {r.question: r.picture for r in server.requests}
    for question, image, reading in zip(questions, images, readings, strict=True):
        seen = seen_frame(processor, stored_frame(image))
        assert arrived[question].size == (seen.width, seen.height) and reading.seen == seen
        here, there = (
            processor.image_processor(images=[i], return_tensors="pt") for i in (as_rgb(image), arrived[question])
        )
        assert there["image_grid_thw"].equal(here["image_grid_thw"])
        assert there["pixel_values"].equal(here["pixel_values"])


@pytest.mark.parametrize("size", LONG)
def test_a_long_picture_is_sent_in_a_size_that_the_processor_leaves_alone(
    size: tuple[int, int], tiny_model: Path
) -> None:
    image_processor = load_processor(tiny_model).image_processor
    with serve(lambda *_: completion("x")) as server:
        (reading,) = EndpointReasoner(server.url, "tiny", resize=TINY).answer([np.zeros(size, np.uint8)], ["?"])

    picture = server.requests[0].picture
    assert picture.size == (reading.seen.width, reading.seen.height)
    grid = image_processor(images=[picture], return_tensors="pt")["image_grid_thw"][0]
    assert (grid[1:] * image_processor.patch_size).tolist() == [picture.height, picture.width]
    assert picture.width * picture.height <= TINY.max_pixels < np.prod(first_pass(size))


def first_pass(size: tuple[int, int]) -> tuple[int, int]:
    from medreasoner_monai.reasoners.folder import resized

    return resized(*size, factor=TINY.factor, min_pixels=TINY.min_pixels, max_pixels=TINY.max_pixels)
