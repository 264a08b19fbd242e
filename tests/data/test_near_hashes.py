"""Near hashes in blocks, against comparing them one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.data import near_hashes
from medreasoner_monai.data.near_hashes import HASHES, near_pairs


def write(path: Path, whole: list[int], inner: list[int]) -> Path:
    records = np.zeros(len(whole), HASHES)
    records["number"], records["whole"], records["inner"] = range(len(whole)), whole, inner
    records.tofile(path)
    return path


few_bits = st.integers(0, 2**64 - 1).map(lambda n: n & 0xF0F0)  # so that many are near


@given(st.lists(st.tuples(few_bits, few_bits), max_size=12), st.lists(st.tuples(few_bits, few_bits), max_size=30))
def test_pairs_are_those_of_a_plain_comparison(
    tmp_path_factory: pytest.TempPathFactory, a: list[tuple[int, int]], b: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("hashes")
    files = [write(folder / n, [w for w, _ in x], [i for _, i in x]) for n, x in (("a", a), ("b", b))]
    expected = {}
    for n, (whole, inner) in enumerate(a):
        bits = [min((whole ^ w).bit_count(), (inner ^ i).bit_count()) for w, i in b]
        if near := sorted((d, m) for m, d in enumerate(bits) if d <= 3):
            expected[n] = [m for _, m in near]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_hashes, "_ROWS", 5)
        patch.setattr(near_hashes, "_COLS", 7)
        assert dict(near_pairs(*files, radius=3)) == expected


def test_of_many_near_ones_the_nearest_are_kept(tmp_path: Path) -> None:
    hashes = [2**n - 1 for n in range(13)] * 20
    query = write(tmp_path / "a", [0], [0])
    others = write(tmp_path / "b", hashes, hashes)
    ((number, found),) = near_pairs(query, others, most=30)
    assert number == 0 and len(found) == 30
    assert sorted(hashes[m].bit_count() for m in found) == [0] * 20 + [1] * 10
