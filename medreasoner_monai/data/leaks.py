"""The firewall over finished files in the U-MRG schema, whoever made them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from medreasoner_monai.data.fingerprints import Fingerprinter
from medreasoner_monai.data.firewall import Firewall, Place, Report
from medreasoner_monai.data.schema import SampleError, from_row, read_rows
from medreasoner_monai.errors import InputError


def check_files(files: Mapping[str, Path], allow: Sequence[str] = ()) -> tuple[Report, int]:
    """What the splits of a data set share.

    Parameters
    ----------
    files:
        A file by split: ``train``, ``val`` and ``test``, of which one may be missing.
    allow:
        Kinds of leaks that are accepted.

    Returns
    -------
    The report, and how many rows could not be read and were not checked.

    Raises
    ------
    InputError
        If a file is missing or not a Parquet file, two splits are one file, or a file has no row that can be read.
    """
    if len({path.resolve() for path in files.values()}) < len(files):
        raise InputError(f"{', '.join(files)} name the same file twice; give each split a file of its own")
    unreadable = 0
    with tempfile.TemporaryDirectory(prefix="firewall-") as folder, Firewall(Path(folder) / "index") as firewall:
        for split, path in files.items():
            prints, checked = Fingerprinter(), 0
            for where, row in read_rows(path):
                try:
                    sample = from_row(row, where)
                except SampleError:
                    unreadable += 1
                    continue
                checked += 1
                study = sample.origin.study if sample.origin else ""
                firewall.add(Place(split, where, sample.id), sample.group, study, prints.take(sample))
            if not checked:
                raise InputError(f"{path} has no row that can be read, so there is nothing to check it for")
        found = firewall.report(allow)
    return found, unreadable
