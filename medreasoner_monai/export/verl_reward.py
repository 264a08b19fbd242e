"""What an exported ``reward.py`` calls: a reward suite with verl's signature. Needs numpy and this package, no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.rewards import suite
from medreasoner_monai.task.geometry import Frame

Scorer = Callable[[str, str, Mapping[str, Any] | None], dict[str, float]]


def scorer(name: str, *, weights: Mapping[str, float], point_overlap: str, think: bool) -> Scorer:
    """A function from a completion, its ground truth (JSON) and its row's ``extra_info`` to ``score`` and every term.

    Raises
    ------
    ConfigError
        As :func:`medreasoner_monai.rewards.suite`.
    """
    chosen = suite(name, weights=weights, point_overlap=point_overlap, think=think)

    def score(completion: str, truth: str, info: Mapping[str, Any] | None) -> dict[str, float]:
        try:
            frame = Frame(int(info["frame_width"]), int(info["frame_height"]), "model")  # type: ignore[index]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"extra_info lacks frame_width and frame_height, which the export writes ({error})"
            ) from None
        return {term: float(values[0]) for term, values in chosen.score([completion], [truth], [frame]).items()}

    return score
