"""A finding in a series that is not whole says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.grounding.source_flags import gaps, with_source_flags
from tests.dicom.made import a_finding, a_mask, nothing_found
from tests.dicom.tools import make_ct


def test_a_whole_series_gives_no_flag(tmp_path: Path) -> None:
    make_ct(tmp_path, 5)
    series = choose_series(tmp_path)
    finding = a_finding(series, {1: a_mask(series)})
    assert with_source_flags(series, finding) is finding and gaps(series) == []


@pytest.mark.parametrize("found", [True, False])
def test_a_file_that_was_set_aside_flags_every_finding(tmp_path: Path, found: bool) -> None:
    path = make_ct(tmp_path, 6)[5]
    path.write_bytes(path.read_bytes()[:-1000])
    series = choose_series(tmp_path)
    finding = a_finding(series, {1: a_mask(series)}) if found else nothing_found(series, [0])
    (flag,) = with_source_flags(series, finding).flags
    assert flag.kind == "source" and flag.text.startswith("1 damaged file(s) were set aside")
    assert path.name not in flag.text


@pytest.mark.parametrize(("marked", "flagged"), [(1, True), (2, True), (0, False), (3, False)])
def test_a_gap_flags_the_finding_that_touches_it(tmp_path: Path, marked: int, flagged: bool) -> None:
    paths = make_ct(tmp_path, 7)
    for path in paths[2:4]:
        path.unlink()
    series = choose_series(tmp_path)
    assert gaps(series) == [(1, 2)]
    flags = with_source_flags(series, a_finding(series, {marked: a_mask(series)})).flags
    assert [f.text.startswith("about 2 slice(s) are missing between slices 1 and 2") for f in flags] == [True] * flagged
