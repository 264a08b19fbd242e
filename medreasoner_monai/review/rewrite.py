"""A reviewed data set written anew: corrections in the place of what was corrected, rejected samples set aside."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from medreasoner_monai.data.assemble import REJECTS
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.review.applied import Reviews
from medreasoner_monai.data.schema import TableFile, read_rows
from medreasoner_monai.data.shards import REJECT_SCHEMA
from medreasoner_monai.errors import InputError
from medreasoner_monai.review.dataset import ReviewedData


def rewrite(data: ReviewedData, reviews: Reviews, out: Path) -> dict[str, Counter[str]]:
    """Write each file of a data set with the verdicts applied, and ``rejects.parquet`` with what was set aside.

    Returns
    -------
    dict
        By file: how many samples were ``kept`` and ``rejected``.

    Raises
    ------
    InputError
        If ``out`` exists already. It gets its name once it is whole.
    """
    if out.exists():
        raise InputError(f"{out} exists already; name a new folder")
    part = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    part.mkdir(parents=True)
    counts: dict[str, Counter[str]] = {}
    try:
        with TableFile(part / REJECTS, REJECT_SCHEMA) as rejects:
            for file in data.files:
                count = counts[file.name] = Counter(kept=0, rejected=0)
                with TableFile(part / file.name) as table:
                    for where, row in read_rows(file):
                        reason = reviews.apply(row, where)
                        if reason is None:
                            table.add(row)
                        else:
                            masks = int(json.loads(row["reward_model"]["ground_truth"])["bbox_2d"] is not None)
                            rejects.add(asdict(Reject(where, reason, "review", masks)) | {"source": data.name})
                        count["kept" if reason is None else "rejected"] += 1
        part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return counts
