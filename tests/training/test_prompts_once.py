"""Reading a prompt once changes nothing of what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.prompts_once import read_prompts_once, repeated
from medreasoner_monai.training.worker import load_model
from tests.samples import sample


def inputs(folder: Path, names: str) -> Any:
    """One prompt a letter: a picture and a question, both different from letter to letter, also in their lengths."""
    processor = load_processor(folder)
    samples = [sample(ord(n), question=f"Where is it{' very' * (ord(n) - 96)} bright?") for n in names]
    chats = [
        processor.apply_chat_template(
            template("brief").messages(s.question), add_generation_prompt=True, tokenize=False
        )
        for s in samples
    ]
    shown = [Image.fromarray(s.image).convert("RGB") for s in samples]
    return processor(images=shown, text=chats, padding=True, return_tensors="pt")


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return load_model(str(tiny_model), gpu=False, freeze_vision=True).eval()


@pytest.mark.parametrize(
    ("names", "times"),
    [("aaaabbbb", 4), ("aabbcc", 2), ("aaaa", 4), ("abab", 1), ("aaab", 1), ("aabbb", 1), ("aaaabb", 2), ("a", 1)],
)
def test_copies_are_counted(names: str, times: int, tiny_model: Path) -> None:
    given = dict(inputs(tiny_model, names))
    assert repeated(given.pop("input_ids"), given) == times


def test_the_same_words_about_another_picture_are_another_prompt(tiny_model: Path) -> None:
    given = dict(inputs(tiny_model, "aa"))
    half = given["pixel_values"].shape[0] // 2
    given["pixel_values"][half:] += 0.5
    assert repeated(given.pop("input_ids"), given) == 1


@pytest.mark.parametrize("names", ["aaaabbbb", "aabbcc", "abab"])
@pytest.mark.parametrize("drawn", [{"do_sample": False}, {"do_sample": True, "temperature": 1.0, "top_k": 0}])
def test_what_is_written_stays_the_same(names: str, drawn: dict[str, Any], model: Any, tiny_model: Path) -> None:
    given = inputs(tiny_model, names)

    def write() -> torch.Tensor:
        torch.manual_seed(4)
        out: torch.Tensor = model.generate(**given, **drawn, max_new_tokens=24)
        return out

    before = write()
    rows_read: list[int] = []
    read = model._prefill

    def count(input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        rows_read.append(input_ids.shape[0])
        return read(input_ids, *args, **kwargs)

    model._prefill = count
    read_prompts_once(model)
    assert torch.equal(write(), before)
    assert rows_read == [len(set(names)) if names != "abab" else 4]
    assert len({tuple(row.tolist()) for row in before}) > 1, "answers that are all alike would show nothing"


def test_an_ordinary_forward_is_left_alone(model: Any, tiny_model: Path) -> None:
    given = inputs(tiny_model, "aabb")
    with torch.inference_mode():
        before = model(**given).logits
        read_prompts_once(model)
        assert torch.equal(model(**given).logits, before)
