"""Which split a patient belongs to: by a digest of the patient's name, so that adding data moves nobody.

Three rules, the first that applies:

1. A group that an earlier data set's ledger names (``data.splits.keep``) stays where it was.
2. Otherwise its digest, a number in [0, 1), says its split: below ``test`` it is tested on, below ``test + val`` it is
   validated on. Neither other groups nor their order matter.
3. A stratum (a source's modality, or a source's category) of which too few groups came into test or val by that gets
   more: those of its training groups with the least digests. This only ever takes groups out of train, so that a group
   that is tested on by rule 2 is never trained on later.

Rule 3 looks at the other groups. A group that it moved may go back to train once its stratum has grown, unless the
ledger keeps it; so growing data sets name the one before. See docs/data-firewall.md.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest
from medreasoner_monai.settings.data import SplitSettings

SPLITS = ("train", "val", "test")
LEDGER = "groups.parquet"
LEDGER_SCHEMA = pa.schema([("group", pa.string()), ("split", pa.string()), ("rule", pa.string())])
_ABOUT = b"medreasoner"
_LEAST_GROUPS = {"test": 3, "val": 5}
"""Groups of a stratum from which on one of them must be in the split."""


def place_of(group: str, settings: SplitSettings) -> float:
    """A group's number in [0, 1), by its digest."""
    digest = hashlib.sha256(f"{settings.salt}\n{group}".encode()).digest()
    # 53 bits, as many as a float holds: more could be rounded up to 1, which lies in no split.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split_of(group: str, settings: SplitSettings) -> str:
    """The split of a group by its digest alone.

    >>> split_of("patient 7", SplitSettings())
    'train'
    """
    place = place_of(group, settings)
    if place < settings.test:
        return "test"
    return "val" if place < settings.test + settings.val else "train"


def group_key(group: str, settings: SplitSettings) -> str:
    """What a ledger knows a group by: a salted digest, 32 hexadecimal digits, so that it holds no pseudonyms."""
    return hashlib.sha256(f"ledger\n{settings.salt}\n{group}".encode()).hexdigest()[:32]


@dataclass
class Groups:
    """The groups of a data set, by what they hold; filled row by row and then divided by :func:`assign`."""

    strata: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    given: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, group: str, *, source: str, modality: str, category: str, split: str | None = None) -> None:
        """Note a sample; ``split`` is where its source puts it, None if it leaves that to the digest."""
        if split is not None:
            self.given[group].add(split)
        else:
            self.strata[group] |= {f"{source}, modality {modality}", f"{source}, category {category}"}


@dataclass(frozen=True)
class Assignment:
    """The split of every group, and the rule that gave it (``given``, ``kept``, ``digest``, ``stratum``)."""

    split: Mapping[str, str]
    rule: Mapping[str, str]

    def counts(self) -> dict[str, int]:
        """Groups by rule."""
        found: dict[str, int] = defaultdict(int)
        for rule in self.rule.values():
            found[rule] += 1
        return dict(sorted(found.items()))


def assign(groups: Groups, settings: SplitSettings, ledger: Mapping[str, str] | None = None) -> Assignment:
    """Divide the groups by the module's rules.

    A group that one source has put into a split goes there with all its samples; where sources disagree, its other
    samples stay where their sources put them and the firewall reports it.

    Raises
    ------
    InputError
        If a source puts a group into another split than the ledger: someone would move.
    """
    ledger = ledger or {}
    split: dict[str, str] = {}
    rule: dict[str, str] = {}
    for group, splits in groups.given.items():
        kept = ledger.get(group_key(group, settings))
        if kept is not None and splits != {kept}:
            raise InputError(
                f"data.splits.keep has a group in {kept} that a source of this data set puts into "
                f"{', '.join(sorted(splits))}; take it out of that file, or leave data.splits.keep out"
            )
        split[group], rule[group] = min(splits, key=SPLITS.index), "given"
    for group in groups.strata:
        if group in split:
            continue
        kept = ledger.get(group_key(group, settings))
        split[group] = kept or split_of(group, settings)
        rule[group] = "kept" if kept else "digest"
    if settings.stratify:
        _stratify(groups.strata, split, rule, settings)
    return Assignment(split, rule)


def _stratify(
    strata: Mapping[str, set[str]], split: dict[str, str], rule: dict[str, str], settings: SplitSettings
) -> None:
    members: dict[str, list[str]] = defaultdict(list)
    for group in sorted(strata, key=lambda g: (place_of(g, settings), g)):
        for stratum in strata[group]:
            members[stratum].append(group)
    # The smallest first: what they are given counts for the larger ones that contain it.
    for stratum in sorted(members, key=lambda s: (len(members[s]), s)):
        inside = members[stratum]
        for name in ("test", "val"):
            share = getattr(settings, name)
            if share == 0 or len(inside) < _LEAST_GROUPS[name]:
                continue
            missing = max(1, int(len(inside) * share / 2)) - sum(split[g] == name for g in inside)
            movable = [g for g in inside if split[g] == "train" and rule[g] == "digest"]
            left = sum(split[g] == "train" for g in inside) - 1  # the last one stays
            for group in movable[: max(0, min(missing, left))]:
                split[group], rule[group] = name, "stratum"


def read_ledger(settings: SplitSettings) -> dict[str, str]:
    """Split by :func:`group_key` of the data set that ``data.splits.keep`` names; empty where it names none.

    Raises
    ------
    InputError
        If there is no ledger, it cannot be read, or was made with another salt.
    """
    if settings.keep is None:
        return {}
    path = ledger_path(settings.keep)
    try:
        table = pq.read_table(path, columns=["group", "split"])
        about = json.loads((table.schema.metadata or {}).get(_ABOUT, b"{}"))
    except FileNotFoundError:
        raise InputError(f"data.splits.keep: {settings.keep} has no {LEDGER}; name a curated data set") from None
    except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
        raise InputError(f"data.splits.keep: {path} is not a ledger of groups ({error})") from None
    if about.get("salt") != _salt_digest(settings):
        raise InputError(f"data.splits.keep: {path} was made with another data.splits.salt; give the same one")
    found = dict(zip(table["group"].to_pylist(), table["split"].to_pylist(), strict=True))
    if odd := set(found.values()) - set(SPLITS):
        raise InputError(f"data.splits.keep: {path} has the split {min(odd)!r}; expected one of {', '.join(SPLITS)}")
    return found


def ledger_path(path: Path) -> Path:
    """The ledger's file, of a data set's folder or given itself."""
    return path / LEDGER if path.is_dir() else path


def write_ledger(
    path: Path, assignment: Assignment, settings: SplitSettings, earlier: Mapping[str, str] | None = None
) -> None:
    """Write the split of every group; those of an earlier ledger that are not in this data set are carried on."""
    rows = {group_key(g, settings): (s, assignment.rule[g]) for g, s in assignment.split.items()}
    rows |= {key: (split, "kept") for key, split in (earlier or {}).items() if key not in rows}
    keys = sorted(rows)
    table = pa.table([keys, [rows[k][0] for k in keys], [rows[k][1] for k in keys]], schema=LEDGER_SCHEMA)
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table.replace_schema_metadata({_ABOUT: json.dumps({"salt": _salt_digest(settings)})}), temporary)
    temporary.replace(path)


def identity(settings: SplitSettings) -> dict[str, Any]:
    """What decides a division besides the groups: the settings, with the ledger's digest in the place of its path.

    Raises
    ------
    InputError
        If the ledger cannot be read.
    """
    try:
        kept = None if settings.keep is None else file_digest(ledger_path(settings.keep))
    except OSError as error:
        raise InputError(f"data.splits.keep: {settings.keep} has no readable {LEDGER}: {error.strerror}") from None
    return {**settings.model_dump(mode="json"), "keep": kept}


def _salt_digest(settings: SplitSettings) -> str:
    return hashlib.sha256(f"salt\n{settings.salt}".encode()).hexdigest()[:16]
