"""Suites: named sets of terms with weights, as one score or as TRL reward functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.files import object_digest
from medreasoner_monai.rewards import terms as t
from medreasoner_monai.rewards.batch import read_batch
from medreasoner_monai.task.geometry import Array, Frame

RewardFunction = Callable[..., list[float]]


@dataclass(frozen=True)
class RewardSuite:
    """Terms by name, and their weights (1 where none is given). ``think``: whether a think block is required."""

    name: str
    terms: Mapping[str, t.Term]
    weights: Mapping[str, float] = field(default_factory=dict)
    think: bool = True

    @property
    def digest(self) -> str:
        """sha256 over the terms' names, weights and answer format."""
        terms = {name: [term.__name__, self.weight(name)] for name, term in self.terms.items()}
        return object_digest([self.name, terms, self.think])

    def weight(self, term: str) -> float:
        """A term's weight in the score."""
        return float(self.weights.get(term, 1.0))

    def score(self, texts: Sequence[str], truths: Sequence[str], frames: Sequence[Frame]) -> dict[str, Array]:
        """Every term ``(N,)`` by name, and their weighted sum as ``score``."""
        batch = read_batch(texts, truths, frames, think=self.think)
        values = {name: term(batch) for name, term in self.terms.items()}
        total = sum((self.weight(n) * v for n, v in values.items()), start=np.zeros(len(texts)))
        return {**values, "score": total}

    def functions(self) -> list[RewardFunction]:
        """One TRL reward function a term; a batch is read once, however many terms look at it.

        Each takes ``completions`` (texts or conversations) and the columns ``ground_truth`` (JSON, model frame),
        ``frame_width`` and ``frame_height``, and returns unweighted values.
        """
        shared = _Shared(self)
        return [shared.function(name) for name in self.terms]


class _Shared:
    """Keeps the last batch's scores, so that TRL's one call a term costs one reading."""

    def __init__(self, suite: RewardSuite) -> None:
        self.suite = suite
        self.key: tuple[Any, ...] | None = None
        self.values: dict[str, Array] = {}

    def function(self, name: str) -> RewardFunction:
        def reward(
            completions: Sequence[Any],
            ground_truth: Sequence[str],
            frame_width: Sequence[int],
            frame_height: Sequence[int],
            **_: Any,
        ) -> list[float]:
            texts = [_text(c) for c in completions]
            key = (tuple(texts), tuple(ground_truth), tuple(frame_width), tuple(frame_height))
            if key != self.key:
                frames = [Frame(int(w), int(h), "model") for w, h in zip(frame_width, frame_height, strict=True)]
                self.key, self.values = key, self.suite.score(texts, ground_truth, frames)
            return [float(v) for v in self.values[name]]

        reward.__name__ = name
        return reward


def _text(completion: Any) -> str:
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _terms(*functions: t.Term) -> dict[str, t.Term]:
    return {f.__name__: f for f in functions}


_SOFT = _terms(t.format_think, t.format_answer, t.bbox_iou, t.points_dice)
SUITES = {
    "base": RewardSuite("base", _terms(t.base_string, t.base_keys, t.base_iou, t.base_edges, t.base_points)),
    "soft": RewardSuite("soft", _SOFT),
    "abstain": RewardSuite("abstain", _SOFT | _terms(t.abstention, t.presence)),
    "hard": RewardSuite("hard", _SOFT | _terms(t.bbox_align, t.bbox_scale, t.points_align, t.points_angle)),
}


def suite(
    name: str, *, weights: Mapping[str, float] | None = None, point_overlap: str = "dice", think: bool = True
) -> RewardSuite:
    """A suite by name.

    Parameters
    ----------
    name:
        ``base``, ``soft`` (the paper's best), ``hard``, or ``abstain`` (``soft``, and rewards for saying that there is
        nothing to find where that is so and for a region where there is something).
    weights:
        By term; terms not named weigh 1.
    point_overlap:
        ``dice``, or ``released`` for the released code's ``2 I / union``.
    think:
        Whether answers need a think block.

    Raises
    ------
    ConfigError
        For an unknown suite, term or point overlap.
    """
    if name not in SUITES:
        raise ConfigError(f"no reward suite {name!r}.{nearest(name, SUITES)} Known: {', '.join(SUITES)}")
    if point_overlap not in ("dice", "released"):
        raise ConfigError(f"point_overlap is 'dice' or 'released', not {point_overlap!r}")
    chosen = SUITES[name]
    kept = dict(chosen.terms)
    if point_overlap == "released" and "points_dice" in kept:
        kept["points_dice"] = t.points_released
    if not think:
        kept.pop("format_think", None)
    for term in weights or {}:
        if term not in kept:
            raise ConfigError(f"suite {name!r} has no term {term!r}.{nearest(term, kept)} Its terms: {', '.join(kept)}")
    return replace(chosen, terms=kept, weights=dict(weights or {}), think=think)
