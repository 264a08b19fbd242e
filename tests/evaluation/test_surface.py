"""Agreement of masks, worked out by hand and by another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medreasoner_monai.evaluation.surface import borders, overlap


def square(top: int, left: int, side: int, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_overlap_by_hand() -> None:
    a, b = square(0, 0, 4), square(0, 2, 4)  # 16 pixels each, 8 shared
    assert overlap(a, b) == {"dice": 0.5, "iou": 8 / 24}
    assert overlap(a, a) == {"dice": 1, "iou": 1}
    assert overlap(a, square(20, 20, 4)) == {"dice": 0, "iou": 0}


def test_a_shift_moves_every_border_that_far() -> None:
    (found,) = borders([square(10, 10, 12)], square(10, 15, 12))
    # The left and right edges are 5 apart, top and bottom overlap in part: 5 is the 95th percentile.
    assert found["hd95"] == pytest.approx(5)
    assert 0 < found["nsd"] < 1


def test_millimetres_count_where_the_spacing_is_known() -> None:
    truth, found = square(10, 10, 12), square(13, 10, 12)  # three rows lower
    (near,) = borders([found], truth, (0.5, 2.0))
    (far,) = borders([found], truth, (2.0, 0.5))
    assert (near["hd95"], far["hd95"]) == pytest.approx((1.5, 6))
    assert near["nsd"] == 1  # nothing is more than 2 mm away
    assert far["nsd"] < 1


def test_an_empty_mask_is_as_bad_as_can_be() -> None:
    empty, good = borders([np.zeros((40, 50), dtype=bool), square(5, 5, 9)], square(5, 5, 9), (3.0, 4.0))
    assert empty == {"nsd": 0, "hd95": pytest.approx(np.hypot(120, 200))}
    assert good == {"nsd": 1, "hd95": 0}


def scipy_hd95(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float]) -> float:
    """The larger of the two directed 95th percentiles, over the borders that an erosion takes away."""
    edges = [m ^ ndimage.binary_erosion(m) for m in (a, b)]
    far = [ndimage.distance_transform_edt(~e, sampling=spacing) for e in edges]
    return max(np.percentile(far[1][edges[0]], 95), np.percentile(far[0][edges[1]], 95))


@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.0, 1.0), (0.7, 0.7), (0.5, 2.5)]))
def test_distances_agree_with_scipy(seed: int, spacing: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(2, 40, 50)), (0, 4, 4))
    a, b = (f > np.quantile(f, 0.7) for f in field)
    (found,) = borders([a], b, spacing)
    assert found["hd95"] == pytest.approx(scipy_hd95(a, b, spacing), rel=1e-5)
