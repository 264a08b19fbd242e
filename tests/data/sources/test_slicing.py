"""Which slices are taken: by area and by distance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.data.sources.slicing import choose
from medreasoner_monai.settings.sources import SliceSettings

AREAS = {"liver": np.array([0.0, 100, 400, 300, 50]), "cyst": np.array([0.0, 0, 0, 25, 30])}
HEIGHTS = np.arange(5) * 4.0


def taken(**settings: object) -> tuple[int, ...]:
    return choose(AREAS, HEIGHTS, SliceSettings(**settings)).indices  # type: ignore[arg-type]


def test_the_largest_slice_of_each_target() -> None:
    assert taken(take="largest") == (2, 4)


def test_all_slices_with_enough() -> None:
    assert taken(take="all", min_area_mm2=60) == (1, 2, 3)
    assert taken(take="all", min_area_mm2=0) == (1, 2, 3, 4)


def test_slices_apart_from_the_largest_outwards() -> None:
    liver = {"liver": AREAS["liver"]}
    assert choose(liver, HEIGHTS, SliceSettings(take="spaced", every_mm=4)).indices == (1, 2, 3, 4)
    assert choose(liver, HEIGHTS, SliceSettings(take="spaced", every_mm=5)).indices == (2, 4)


def test_a_target_that_is_small_everywhere_is_lost_and_named() -> None:
    chosen = choose(AREAS, HEIGHTS, SliceSettings(min_area_mm2=40))
    assert chosen.indices == (2,) and chosen.lost == {"cyst": 30}


@given(
    area=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    every=st.floats(0.5, 20),
    step=st.sampled_from([-2.5, 0.7, 3.0]),
)
def test_spaced_slices_are_never_nearer_than_asked_for(area: list[int], every: float, step: float) -> None:
    heights = np.arange(len(area)) * step
    settings = SliceSettings(take="spaced", every_mm=every, min_area_mm2=3)
    chosen = choose({"a": np.array(area, dtype=float)}, heights, settings)
    assert all(area[i] >= 3 for i in chosen.indices)
    assert bool(chosen.indices) == (max(area) >= 3) and set(chosen.lost) == ({"a"} if 0 < max(area) < 3 else set())
    assert (np.diff(np.sort(heights[list(chosen.indices)])) >= every - 1e-3).all()
    if chosen.indices:  # and nothing that would have been far enough from all is left out
        gaps = np.abs(heights[:, None] - heights[list(chosen.indices)]).min(axis=1)
        assert not any(gaps[i] >= every + 1e-3 and area[i] >= 3 for i in range(len(area)))
