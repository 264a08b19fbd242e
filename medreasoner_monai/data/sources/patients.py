"""Which patient a picture is of, as far as a source says: by a table, by a pattern in the picture's id, or not at all.

A picture of an unknown patient is a group of its own (:func:`~medreasoner_monai.data.sample.image_group`), which keeps
equal pictures together, but not two slices of one patient. So a rule that does not fit its source is an error.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.sample import image_group
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest
from medreasoner_monai.settings.sources import PatientSettings

HABITS = (
    r"^[^-_]+-(?:[A-Za-z]+-)*([A-Za-z]*\d+)",
    r"^[^-_]+-(?:\w+-)*?([A-Za-z]{2,}-\d+)",
    r"^[^-_]+-(\d+)\d{3}(?!\d)",
)
"""How data sets name their pictures: ``<set>-<patient>-<slice>``, where a letter behind the digits is a side;
``<set>-<slice>-<case-number>``; ``<set>-<patient><slice of three digits>``.

>>> [re.search(HABITS[0], i)[1] for i in ("chd-1001-179", "chase-01L", "msd-hippocampus-001", "acdc-p001-f01-s03")]
['1001', '01', '001', 'p001']
>>> re.search(HABITS[1], "msd09-10008-spleen-8")[1], re.search(HABITS[2], "mbh-159015")[1]
('spleen-8', '159')
"""


def habit(names: Iterable[str], stated: int | None) -> str:
    """The pattern of :data:`HABITS` that fits picture ids whose source states how many patients they are of.

    The first that gives exactly as many; else the one that gives most without giving more; else, and where nothing is
    stated, the first.
    """
    names = list(names)
    counts = {pattern: _count(names, pattern) for pattern in HABITS}
    if stated is None or counts[HABITS[0]] == stated:
        return HABITS[0]
    return max((p for p in HABITS if 0 < counts[p] <= stated), key=counts.__getitem__, default=HABITS[0])


def _count(names: Iterable[str], pattern: str) -> int:
    """Groups that a pattern makes; a name that it does not fit is a group of its own."""
    return len({match[1] if (match := re.search(pattern, name)) else ("", name) for name in names})


@dataclass(frozen=True)
class Patients:
    """The patients of one source.

    Attributes
    ----------
    source:
        Its name, which keeps patients of two sources apart that happen to have one number.
    pattern:
        Its first group, searched in a picture's id, is the patient; empty where ids do not tell.
    table, aliases:
        Files, see :class:`~medreasoner_monai.settings.sources.PatientSettings`.
    stated:
        Patients by picture id, as the source itself lists them.
    """

    source: str
    pattern: str = ""
    table: Path | None = None
    aliases: Path | None = None
    stated: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, source: str, settings: PatientSettings, default: str = "", stated: Mapping[str, str] | None = None
    ) -> Patients:
        """As a source's settings have them; ``default`` is the pattern where they name none."""
        pattern = default if settings.patient is None else settings.patient
        return cls(source, pattern, settings.patient_table, settings.aliases, stated or {})

    def identity(self) -> dict[str, Any]:
        """What decides the groups."""
        files = {name: file_digest(p) for name, p in (("table", self.table), ("aliases", self.aliases)) if p}
        return {"pattern": self.pattern, "stated": dict(self.stated), **files}

    def patient(self, name: str) -> str | None:
        """The patient of a picture, by the picture's id; None where it is unknown.

        A table's id may also be what the picture's id begins with, up to a ``_``.
        """
        for table in (self._rows, self.stated):
            found: str | None = name
            while found:
                if found in table:
                    return table[found]
                found = found.rpartition("_")[0]
        match = re.search(self.pattern, name) if self.pattern else None
        return (match[1] or None) if match else None

    def group(self, name: str, image: NDArray[np.uint8], patient: str | None = None) -> str:
        """The group of a picture: ``<source>/<patient>``, its alias, or the picture's own.

        Parameters
        ----------
        name:
            The picture's id in its source.
        image:
            Its pixels, for where the patient is unknown.
        patient:
            Where the source has it from elsewhere than the id.
        """
        known = self.patient(name) if patient is None else patient
        return image_group(image) if known is None else self.named(known)

    def named(self, patient: str) -> str:
        """The group of a patient, by the source's own word for it."""
        return self._aliases.get(patient) or f"{self.source}/{patient}"

    def unknown(self, names: Iterable[str]) -> int:
        """How many of these pictures have no known patient.

        Raises
        ------
        InputError
            If there is a pattern, or a table with rows for this source, that fits none of them.
        """
        names = list(names)
        lost = [name for name in names if self.patient(name) is None]
        if names and len(lost) == len(names) and (self.pattern or self.table):
            rule = f"the patient pattern {self.pattern!r}" if self.pattern else f"{self.table}"
            raise InputError(
                f"source {self.source}: {rule} fits none of {len(names)} picture ids, such as {names[0]!r}; correct "
                "it, or set it to '' to make each picture a group of its own"
            )
        return len(lost)

    @cached_property
    def _rows(self) -> Mapping[str, str]:
        return {} if self.table is None else read_table(self.table, self.source, "id", "patient")

    @cached_property
    def _aliases(self) -> Mapping[str, str]:
        return {} if self.aliases is None else read_table(self.aliases, self.source, "patient", "group")


def read_table(path: Path, source: str, key: str, value: str) -> dict[str, str]:
    """Two columns of a CSV file, the rows of other sources left out (column ``source``, where there is one).

    Raises
    ------
    InputError
        If it cannot be read, lacks a column, has a row without a value, or gives one key two values.
    """
    found: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {key, value} - set(reader.fieldnames or ())
            if missing:
                raise InputError(f"{path}: no column {' and no column '.join(sorted(missing))} in its first line")
            for number, row in enumerate(reader, 2):
                if row.get("source") not in (None, "", source):
                    continue
                name, said = (row[key] or "").strip(), (row[value] or "").strip()
                if not name or not said:
                    raise InputError(f"{path} line {number}: {key} or {value} is empty; fill it, or delete the line")
                if found.setdefault(name, said) != said:
                    raise InputError(f"{path} line {number}: a second {value} for one {key}; leave one of them")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({type(error).__name__}: {error})") from None
    return found
