"""The division of patients: who stays where as data grows, and what small strata get."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.data.splits import (
    LEDGER,
    Assignment,
    Groups,
    assign,
    group_key,
    identity,
    read_ledger,
    split_of,
    write_ledger,
)
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.data import SplitSettings

PLAIN = SplitSettings(stratify=False)
names = st.lists(st.text("abcdefghij0123456789", min_size=1, max_size=6), unique=True, max_size=60)


def groups(members: list[str], source: str = "ct", modality: str = "CT", category: str = "liver") -> Groups:
    found = Groups()
    for name in members:
        found.add(name, source=source, modality=modality, category=category)
    return found


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix} {n}" for n in range(count)]


@given(names, names)
def test_without_strata_adding_groups_moves_nobody(first: list[str], more: list[str]) -> None:
    before, after = assign(groups(first), PLAIN), assign(groups([*first, *more]), PLAIN)
    assert before.split.items() <= after.split.items()


@given(names, names, st.integers(0, 5))
def test_with_a_ledger_adding_groups_moves_nobody(first: list[str], more: list[str], salt: int) -> None:
    settings = SplitSettings(salt=str(salt))
    before = assign(groups(first), settings)
    ledger = {group_key(g, settings): s for g, s in before.split.items()}
    after = assign(groups([*more, *first], category="spleen"), settings, ledger)
    assert before.split.items() <= after.split.items()


@given(names, names)
def test_without_a_ledger_only_groups_that_a_stratum_moved_may_move_again(first: list[str], more: list[str]) -> None:
    before, after = (assign(groups(g), SplitSettings()) for g in (first, [*first, *more]))
    moved = {g for g in first if before.split[g] != after.split[g]}
    assert all("stratum" in (before.rule[g], after.rule[g]) for g in moved)


@given(names)
def test_strata_only_take_from_train(members: list[str]) -> None:
    found = assign(groups(members), SplitSettings())
    for group, split in found.split.items():
        by_digest = split_of(group, SplitSettings())
        assert split == by_digest or (by_digest == "train" and found.rule[group] == "stratum")


@given(st.integers(3, 40), st.integers(0, 10_000))
def test_every_stratum_of_three_is_tested_on_and_trained_on_unless_the_digest_says_otherwise(n: int, seed: int) -> None:
    members = numbered(f"{seed}", n)
    found = assign(groups(members), SplitSettings())
    splits = list(found.split.values())
    by_digest = [split_of(g, SplitSettings()) for g in members]
    assert "test" in splits or by_digest.count("train") <= 1
    assert ("train" in splits) == ("train" in by_digest), "the last one stays"
    assert n < 5 or "val" in splits or by_digest.count("train") <= 2


def test_shares_are_close_to_those_asked_for() -> None:
    rng = np.random.default_rng(0)
    everything = Groups()
    sizes = rng.integers(3, 80, 40)
    for number, size in enumerate(sizes):
        for name in numbered(f"set {number} patient", int(size)):
            everything.add(name, source=f"set {number}", modality="CT", category="liver")
    found = assign(everything, SplitSettings(val=0.1, test=0.2))
    splits = list(found.split.values())
    assert splits.count("test") / len(splits) == pytest.approx(0.2, abs=0.04)
    assert splits.count("val") / len(splits) == pytest.approx(0.1, abs=0.04)
    for number, size in enumerate(sizes):
        tested = sum(found.split[g] == "test" for g in numbered(f"set {number} patient", int(size)))
        # At least half of its share; and not more than chance gives (five standard deviations of a binomial).
        assert max(1, size // 10) <= tested <= 0.2 * size + 5 * np.sqrt(0.16 * size) + 1


def test_a_rare_category_is_tested_on_too() -> None:
    members = numbered("patient", 400)
    rare = [g for g in members if split_of(g, SplitSettings()) == "train"][:4]
    found = groups(members)
    for name in rare:
        found.add(name, source="ct", modality="CT", category="spleen")
    assert "test" in {assign(found, SplitSettings()).split[g] for g in rare}


def test_the_digest_is_the_documented_one() -> None:
    # The first 53 bits of sha256 of salt, line feed and group, over 2 ** 53.
    group, salt = "patient 7", "s"
    place = int(hashlib.sha256(b"s\npatient 7").hexdigest()[:16], 16) / 2**64
    settings = SplitSettings(salt=salt, test=min(0.8, place + 0.01), val=0.1)
    assert split_of(group, settings) == ("test" if place < 0.8 else "val")


def test_a_group_that_a_source_has_placed_takes_its_other_samples_with_it() -> None:
    found = groups(numbered("patient", 20))
    found.add("patient 3", source="files", modality="CT", category="liver", split="test")
    assigned = assign(found, SplitSettings())
    assert (assigned.split["patient 3"], assigned.rule["patient 3"]) == ("test", "given")


def test_the_ledger_comes_back_and_carries_on_who_is_gone(tmp_path: Path) -> None:
    settings = SplitSettings(salt="x", keep=tmp_path)
    first = assign(groups(numbered("old", 10)), settings)
    write_ledger(tmp_path / LEDGER, first, settings)
    ledger = read_ledger(settings)
    assert ledger == {group_key(g, settings): s for g, s in first.split.items()}
    second = assign(groups(numbered("new", 10)), settings, ledger)
    write_ledger(tmp_path / LEDGER, second, settings, ledger)
    assert ledger.items() <= read_ledger(settings).items() and len(read_ledger(settings)) == 20
    text = pq.read_table(tmp_path / LEDGER).to_pandas().to_csv()
    assert "old" not in text and "new" not in text, "pseudonyms stay out"


def test_a_source_that_would_move_a_kept_group_is_refused() -> None:
    found = Groups()
    found.add("p", source="files", modality="", category="", split="train")
    with pytest.raises(InputError, match="data.splits.keep has a group in test that a source .* puts into train"):
        assign(found, SplitSettings(), {group_key("p", SplitSettings()): "test"})


def test_a_ledger_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"has no {LEDGER}; name a curated data set"):
        read_ledger(SplitSettings(keep=tmp_path))
    write_ledger(tmp_path / LEDGER, Assignment({"p": "test"}, {"p": "digest"}), SplitSettings())
    with pytest.raises(InputError, match=r"another data\.splits\.salt"):
        read_ledger(SplitSettings(keep=tmp_path, salt="other"))
    (tmp_path / LEDGER).write_bytes(b"not parquet")
    with pytest.raises(InputError, match="is not a ledger of groups"):
        read_ledger(SplitSettings(keep=tmp_path / LEDGER))


def test_identity_follows_the_ledgers_content_not_its_path(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.mkdir()
        write_ledger(path / LEDGER, Assignment({"p": "test"}, {"p": "digest"}), SplitSettings())
    first, second = (identity(SplitSettings(keep=path)) for path in paths)
    assert first == second != identity(SplitSettings())
