"""What a data set lacks, in sentences, as its counts show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from medreasoner_monai.data.census import NO_SOURCE, Census

FEW_SAMPLES, FEW_PATIENTS = 20, 5
"""Below these a figure on the test split says little: its interval is as wide as the scale."""
_MANY_REJECTS = 0.1
_NAMED = 12  # names in a sentence, at most


def find_gaps(census: Census, known: Callable[[str], bool], synthetic: frozenset[str] = frozenset()) -> Iterator[str]:
    """One sentence for each gap.

    Parameters
    ----------
    census:
        Of the data set.
    known:
        Whether the taxonomy knows a category.
    synthetic:
        Sources without patients, which need no licence.
    """
    yield from _patients(census)
    yield from _splits(census)
    yield from _questions(census)
    if unknown := unknown_targets(census, known):
        yield f"The taxonomy does not know {_list(list(unknown))}: they have no code, and no rule can write about them."
    for source, licences in sorted(census.licences.items()):
        if licences == {""} and source not in synthetic:
            yield f"The licence of {source} is not stated."
    for source, tally in sorted(census.rejects.items()):
        kept = census.sources[source].samples if source in census.sources else 0
        masks = tally.masks.total()
        if masks > _MANY_REJECTS * (masks + kept):
            yield f"Of {source}, {masks} of about {masks + kept} masks were set aside; look at why."


def unknown_targets(census: Census, known: Callable[[str], bool]) -> dict[str, int]:
    """Categories that the taxonomy does not know, and how many samples ask for them."""
    found: dict[str, int] = {}
    for counter in census.names["category"].values():
        for name, count in counter.items():
            if not known(name):
                found[name] = found.get(name, 0) + count
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _patients(census: Census) -> Iterator[str]:
    unknown = sorted(n for n, t in census.sources.items() if t.image_groups == len(t.groups))
    if unknown:
        yield (
            f"Patients are unknown in {_list(unknown)}: each picture counts as one, so that two pictures of a patient "
            "may lie on both sides of a split."
        )
    for name, tally in sorted(census.sources.items()):
        if len(tally.groups) == 1 and name != NO_SOURCE:
            yield f"{name} has a single patient."


def _splits(census: Census) -> Iterator[str]:
    train, test = census.splits.get("train"), census.splits.get("test")
    if train is None or test is None:
        return
    if "val" in census.splits and not census.splits["val"].samples:
        yield "There is no validation split."
    if unseen := sorted(test.categories - train.categories):
        yield f"Asked for in test and never in train: {_list(unseen)}."
    if untested := sorted(train.categories - test.categories):
        yield f"Trained on and never tested: {_list(untested)}."
    few = [name for name, count in census.names["category"]["test"].items() if count < FEW_SAMPLES]
    if few:
        yield (
            f"{len(few)} of {len(test.categories)} categories have fewer than {FEW_SAMPLES} samples in test; figures "
            "for each of them alone say little."
        )
    if len(test.groups) < FEW_PATIENTS:
        yield f"The test split has {len(test.groups)} patients or pictures; expected at least {FEW_PATIENTS}."


def _questions(census: Census) -> Iterator[str]:
    total = census.samples
    if total and not sum(t.absent for t in census.splits.values()):
        yield "No question asks for something that is not there; a model is not tested on saying so."
    if total and not sum(t.traces for t in census.splits.values()):
        yield "No sample has a reasoning trace to learn from."
    without = sum(t.samples - t.spacings for t in census.splits.values())
    if without:
        yield f"{without} of {total} samples have no pixel spacing; nothing in millimetres can be measured on them."


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
