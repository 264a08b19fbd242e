"""Which slices are asked, in which portions, and whether a mask is carried on."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.plan import ALL_UP_TO, BATCH, CANDIDATES, Plan, make_plan, slices_to_ask
from medreasoner_monai.grounding.request import GroundingSettings, Question
from tests.dicom.tools import make_ct, make_xray


@given(st.integers(1, 2000))
def test_auto_asks_all_of_a_short_series_and_evenly_spread_candidates_of_a_long_one(count: int) -> None:
    asked = slices_to_ask(count, "auto")
    if count <= ALL_UP_TO:
        assert asked == list(range(count))
    else:
        assert len(asked) == CANDIDATES and asked[0] > 0 and asked[-1] < count - 1
        gaps = np.diff([-1, *asked, count])
        assert gaps.max() <= 2 * gaps.min() + 2


def test_slices_can_be_named() -> None:
    assert slices_to_ask(40, "all") == list(range(40))
    assert slices_to_ask(17, 16) == [16]
    with pytest.raises(InputError, match="slice 17 is asked for, but the series has 17, counted from 0 to 16"):
        slices_to_ask(17, 17)


def plan(series: Series, **settings: object) -> Plan:
    return make_plan(series, "Which?", GroundingSettings(**settings))  # type: ignore[arg-type]


def test_carrying_is_for_volumes_whose_slices_were_left_out(tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 4)
    volume, picture = choose_series(tmp_path / "ct"), choose_series(make_xray(tmp_path / "xray.dcm"))
    assert plan(volume, slices=2).carry
    assert not plan(volume, slices="all").carry, "nothing is left to carry to"
    assert not plan(volume, slices=2, carry="off").carry
    assert not plan(picture, carry="on").carry
    assert plan(volume, slices=2).steps == 1 + 3 and plan(volume).steps == 4


@given(st.integers(0, 40), st.integers(1, 9))
def test_the_questions_of_a_picture_stay_together_in_portions_of_a_batch(count: int, questions: int) -> None:
    asked = tuple(Question(f"Number {n}?") for n in range(questions))
    made = Plan(None, asked, tuple(range(count)), False, GroundingSettings())  # type: ignore[arg-type]
    portions = list(made.batches(made.slices))
    assert [i for part in portions for i in part] == list(range(count)), "each slice once, in order"
    assert all(len(part) == 1 or len(part) * questions <= BATCH for part in portions)
    # A data loader that hands over whole batches changes nothing.
    loaded = [part for start in range(0, count, BATCH) for part in made.batches(made.slices[start : start + BATCH])]
    assert loaded == portions
