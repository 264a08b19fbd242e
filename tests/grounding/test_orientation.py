"""Left is the patient's left: however images are stored, models see one picture and answers lie in one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.dicom.series import choose_series
from tests.dicom.turned import WAYS, name, write_ct

AXIAL = [way for way in WAYS if way[0][0] == 0]


@pytest.mark.parametrize("way", AXIAL, ids=name)
def test_the_models_see_one_picture_however_a_plane_is_stored(way: object, tmp_path: Path) -> None:
    plain = choose_series(write_ct(tmp_path / "plain", WAYS[0]))
    other = choose_series(write_ct(tmp_path / "other", way))  # type: ignore[arg-type]
    for index in range(len(plain)):
        assert np.array_equal(plain.view(index).pixels, other.view(index).pixels)
