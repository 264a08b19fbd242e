"""Pictures of a source that does not keep its promises: ids and masks that cannot be told apart are set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.data.assemble import REJECTS
from medreasoner_monai.data.curate_stage import curate_into
from medreasoner_monai.data.entry import enter
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.schema import read_split
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.splits import SPLITS
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings, QuestionSettings

PLACES = ("a.png", "b.png", "c.png")
NAMES = ("liver", "spleen")


class Made:
    """A source of pictures, each a unit of its own unless they are read ``together``."""

    name, synthetic, description, inline = "made", True, "", True

    def __init__(self, *pictures: LabelledImage, together: bool = False) -> None:
        self.pictures, self.together = pictures, together

    def identity(self) -> dict[str, Any]:
        return {}

    def units(self) -> Iterator[Unit]:
        if self.together:
            yield Unit("all", sum(len(p.targets) for p in self.pictures))
        else:
            yield from (Unit(str(n), len(p.targets)) for n, p in enumerate(self.pictures))

    def read(self, unit: Unit) -> Iterator[LabelledImage]:
        yield from self.pictures if self.together else [self.pictures[int(unit.key)]]


def picture(name: str, targets: list[tuple[str, str]], number: int = 0) -> LabelledImage:
    """``targets`` are names and places; each has a bright square of its own, in another place for each number."""
    image = np.random.default_rng(number).integers(30, 90, (96, 128)).astype(np.uint8)
    made = []
    for n, (target, where) in enumerate(targets):
        mask = np.zeros(image.shape, dtype=bool)
        mask[10 + 30 * (n % 2) :, 8 + number + 20 * (n // 2) :][:20, :15] = True
        image[mask] += 120
        made.append(Target(target, mask, where))
    return LabelledImage(
        name, image, tuple(made), "CT", "abdomen", f"patient {number}", SourceRef("made", f"{name}.png")
    )


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(PLACES)), max_size=7))
def test_of_masks_with_one_name_and_place_the_first_is_kept(targets: list[tuple[str, str]]) -> None:
    given_ = picture("p", targets)
    entered, rejects = enter(given_, set())
    assert entered is not None
    kept = [(t.name, t.where) for t in entered.targets]
    assert kept == list(dict.fromkeys(targets)), "in their order"
    assert Counter(targets) - Counter(kept) == Counter((r.reason.split(":")[0], r.where) for r in rejects)
    assert all(t.mask is given_.targets[targets.index((t.name, t.where))].mask for t in entered.targets)


@pytest.mark.parametrize("together", [True, False], ids=["in one unit", "in one shard"])
def test_a_second_picture_of_one_id_is_set_aside_with_all_of_its_masks(together: bool) -> None:
    source = Made(
        picture("p", [("liver", "a.png")], 1),
        picture("p", [("liver", "b.png"), ("spleen", "c.png"), ("spleen", "c.png")], 2),
        picture("p", [], 3),
        picture("q", [("liver", "d.png"), ("liver", "d.png")], 4),
        together=together,
    )
    account, taken = Account(), set[str]()
    made = [m for unit in source.units() for m in Steps().run(source, unit, account, taken)]
    account.check("the test")
    assert (account.masks, account.kept, account.rejected) == (6, 2, 4)
    rejects = [m for m in made if isinstance(m, Reject)]
    assert [(r.where, r.masks) for r in rejects] == [
        *(("b.png", 1), ("c.png", 1), ("c.png", 1)),
        *(("p.png", 0), ("d.png", 1)),
    ]
    assert "another picture of source made has this id; give each picture a name of its own" in rejects[0].reason
    assert "another target of this name in the same place" in rejects[-1].reason


@pytest.mark.parametrize("size", [1, 1000], ids=["a shard each", "one shard"])
def test_the_count_adds_up_however_the_source_is_cut(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medreasoner_monai.data.shards.SHARD_MASKS", size)
    pictures = [picture(f"p{n}", [("liver", f"{n}.png"), ("spleen", f"{n}.png")], n) for n in range(12)]
    again = picture("p3", [("liver", "other.png"), ("kidney", "other.png")], 50)
    twice = picture("p99", [("liver", "99.png"), ("liver", "99.png")], 51)
    draft = Draft(tmp_path / "d.partial", tmp_path / "d.scratch")
    data = DataSettings(questions=QuestionSettings(writer="name"))
    curate_into(draft, data, NoProgress(), sources=[Made(*pictures, again, twice)])
    assert draft.facts["masks"] == {"in": 28, "kept": 25, "rejected": 3}
    rejects = pq.read_table(draft.path / REJECTS).to_pylist()
    assert sorted((r["where"], r["masks"]) for r in rejects) == [("99.png", 1), ("other.png", 1), ("other.png", 1)]
    kept = [s for split in SPLITS for s in read_split(draft.path / f"{split}.parquet")]
    assert len(kept) == 25 and not any(s.group == "patient 50" for s in kept)
