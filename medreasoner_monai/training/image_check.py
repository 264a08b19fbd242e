"""Does the picture reach the model? Looked at once, when a training begins, on what it is about to be given.

A picture that is dropped on the way fails no call: the model learns to answer from the question, and its rewards even
rise for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import TrainerCallback
from trl.data_utils import prepare_multimodal_messages

from medreasoner_monai.training.alarms import Alarm, write_alarms
from medreasoner_monai.training.dataset import answer_text, row_truth
from medreasoner_monai.training.follow import PICTURE_ALARMS

KIND = "image_dropped"
NO_EFFECT = 1e-3
"""Total variation between the next words' probabilities with and without the picture, at the place where it is largest.
An untrained model has a hundredth, one that has learnt to look nearly one, and one that gets no picture exactly zero.
"""


def check_pictures(
    model: Any,
    processor: Any,
    rows: Sequence[dict[str, Any]],
    *,
    limit: int | None = None,
    completion: int = 0,
    device: Any = None,
) -> list[Alarm]:
    """What is wrong with how pictures are given to a Qwen2.5-VL class model; empty if nothing is.

    Costs two forward passes a row, in which nothing is drawn at random. The model and its mode are left as they were.

    Parameters
    ----------
    model, processor:
        As they are trained.
    rows:
        A few training rows, with ``prompt``, ``images``, ``ground_truth`` and ``frame_…``.
    limit:
        Tokens there is room for; by default the positions the model has.
    completion:
        Tokens that must be left for the completion.
    device:
        Where to run; by default where the model is.
    """
    limit = limit or model.config.get_text_config().max_position_embeddings
    found: list[str] = []
    effects = []
    for row in rows:
        inputs = _inputs(processor, row, row["images"])
        found += _tokens(model, processor, row, inputs)
        found += _room(processor, row, inputs, limit, completion)
        if not found:
            effect = picture_effect(model, processor, row, device=device)
            effects += [] if effect is None else [effect]
    if rows and not found and not effects:
        found.append(
            f"the pictures of {', '.join(str(r['id']) for r in rows)} are blank; look at the data set's images"
        )
    if effects and max(effects) < NO_EFFECT:
        found.append(
            f"the model answers the same when the picture is blanked (probabilities differ by {max(effects):.1g} at "
            "most): its vision tower is not loaded or not connected; check the base model's folder"
        )
    return [Alarm(KIND, 0, message[0].upper() + message[1:] + ".") for message in dict.fromkeys(found)]


def picture_effect(model: Any, processor: Any, row: dict[str, Any], *, device: Any = None) -> float | None:
    """How much the picture changes the next word's probabilities, at the place behind it where that is most: 0 to 1.

    The right answer stands behind the question, since it is in its numbers that a model that looks shows it. None for a
    picture that is blank itself.
    """
    shown = _inputs(processor, row, row["images"])
    blank = _inputs(processor, row, [Image.new(p.mode, p.size) for p in row["images"]])
    if torch.equal(shown["pixel_values"], blank["pixel_values"]):
        return None
    places = (shown["input_ids"][0] == model.config.image_token_id).nonzero()
    behind = shown["input_ids"].shape[1] - int(places[-1]) - 1
    one, other = (_probabilities(model, inputs, behind, device) for inputs in (shown, blank))
    return float(0.5 * (one - other).abs().sum(-1).max())


def _probabilities(model: Any, inputs: Any, behind: int, device: Any) -> Tensor:
    """Next-token probabilities ``(behind, words)`` at the last places."""
    training = model.training
    model.eval()
    where = model.device if device is None else device
    try:
        with torch.no_grad():
            logits: Tensor = model(**inputs.to(where), logits_to_keep=behind, use_cache=False).logits
    finally:
        model.train(training)
    return logits[0, -behind:].float().softmax(-1)


def _inputs(processor: Any, row: dict[str, Any], images: Sequence[Image.Image]) -> Any:
    """What TRL makes of the row's prompt, with the right answer behind it."""
    messages = prepare_multimodal_messages(row["prompt"], images=list(images))
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return processor(images=list(images), text=[text + _answer(row)], return_tensors="pt")


def _answer(row: dict[str, Any]) -> str:
    return answer_text(None, row_truth(row))


def _tokens(model: Any, processor: Any, row: dict[str, Any], inputs: Any) -> list[str]:
    wanted = int(inputs["image_grid_thw"].prod(-1).sum()) // processor.image_processor.merge_size**2
    there = int((inputs["input_ids"] == model.config.image_token_id).sum())
    if there == wanted:
        return []
    message = (
        f"the prompt of {row['id']} has {there} image tokens for a picture of {wanted}: the chat template leaves the "
        "picture out or processor and model disagree; check chat_template and image_token_id in the model's folder"
    )
    return [message]


def _room(processor: Any, row: dict[str, Any], inputs: Any, limit: int, completion: int) -> list[str]:
    answer = len(processor.tokenizer(_answer(row))["input_ids"])
    prompt = inputs["input_ids"].shape[1] - answer
    if prompt + completion <= limit:
        return []
    message = (
        f"the prompt of {row['id']} has {prompt} tokens with its picture and leaves no room for {completion} of the "
        f"completion in {limit}: what does not fit is cut off; allow more tokens or reduce longest_edge in the "
        "processor's size"
    )
    return [message]


class PictureCheck(TrainerCallback):
    """Looks at a few rows when a training begins, and writes what is wrong into its folder.

    All ranks compute, since a sharded model needs all of them; the first one writes.
    """

    def __init__(self, folder: Path, data: Any, processor: Any, *, rows: int = 2) -> None:
        self.path = folder / PICTURE_ALARMS
        self.data, self.processor, self.rows = data, processor, rows

    def _chosen(self) -> list[dict[str, Any]]:
        """The first rows with a target, as far as there are any nearby: a model shows that it looks in its numbers."""
        near = [self.data[n] for n in range(min(8 * self.rows, len(self.data)))]
        return sorted(near, key=lambda row: row_truth(row) is None)[: self.rows]

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look."""
        found = check_pictures(
            model,
            self.processor,
            self._chosen(),
            limit=getattr(args, "max_length", None) or getattr(args, "vllm_max_model_length", None),
            completion=getattr(args, "max_completion_length", None) or 0,
            device=args.device,
        )
        if state.is_world_process_zero:
            write_alarms(self.path, found)
