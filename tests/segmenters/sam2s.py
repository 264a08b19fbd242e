"""Small models of SAM 2's own classes with the weights of a case, and files that hold them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.segmenters.sam2 import Sam2Segmenter
from medreasoner_monai.segmenters.sam2_model import build, layout
from medreasoner_monai.segmenters.sam2_names import Shape
from medreasoner_monai.segmenters.sam2_video import Sam2VideoSegmenter
from medreasoner_monai.segmenters.sam2_weights import fill, segmenter
from medreasoner_monai.task.geometry import Box, Frame, Points
from tests.segmenters.sam2_cases import CASES, PROMPTS, Case, Layout, weights

SMALL = CASES["small"]


def shape(case: Case = SMALL) -> Shape:
    """The case's encoder."""
    return Shape(case.width, case.blocks, case.whole, side=case.side)


def state(found: Layout, case: Case = SMALL) -> dict[str, torch.Tensor]:
    """The case's weights by the original's names."""
    return {name: tensor.clone() for name, tensor in _state(tuple(found.items()), case).items()}


@cache
def _state(found: tuple[tuple[str, tuple[int, ...]], ...], case: Case) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in weights(dict(found), case).items()}


def model(case: Case = SMALL, memory: bool = True, found: Layout | None = None) -> Any:
    """The case's model; its tensors' names and shapes are those of ``found``, or its own."""
    made = build(shape(case), case.side, "2.0" if case.release == "2.0" else "2.1", memory)
    fill(made, state(found or layout(made), case), "the case")
    return made


def images(case: Case = SMALL, name: str = "small") -> Sam2Segmenter:
    """The engine for images alone."""
    return segmenter(model(case, memory=False), {"variant": name}, "cpu")


def videos(case: Case = SMALL, found: Layout | None = None, **options: Any) -> Sam2VideoSegmenter:
    """The engine that carries masks."""
    made = segmenter(model(case, found=found), {"variant": "small"}, "cpu", **options)
    assert isinstance(made, Sam2VideoSegmenter)
    return made


def saved(path: Path, case: Case = SMALL, **changes: torch.Tensor | None) -> Path:
    """A file in the original layout with the case's weights; ``changes`` by name, ``__`` for a dot, None to leave out.

    >>> saved(path, no_mem_embed=None)
    """
    tensors: dict[str, Any] = state(layout(build(shape(case), case.side)), case)
    tensors |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    torch.save({"model": {name: tensor for name, tensor in tensors.items() if tensor is not None}}, path)
    return path


def asked(name: str, frame: Frame) -> Prompt:
    """A prompt of the cases; a lone point beside another off the picture."""
    box, points = PROMPTS[name]
    pair = [*points, (-9.0, -9.0)][:2]
    return Prompt(Box(*box, frame) if box else None, Points(pair[0], pair[1], frame) if points else None)
