"""The curate stage: sources in, train / val / test in the U-MRG schema out, and a table of what was set aside."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from medreasoner_monai.data.assemble import REJECTS, assemble
from medreasoner_monai.data.shards import plan
from medreasoner_monai.data.sources.protocol import Source
from medreasoner_monai.data.sources.registry import build
from medreasoner_monai.data.splits import SPLITS
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.data.workers import make_all
from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings

STAGE = Stage(
    "curate",
    "dataset",
    version=3,
    code=(
        *("data.assemble", "data.steps", "data.workers", "data.sources.registry"),
        *("data.sources.phantoms", "data.sources.parquet", "data.sources.folders", "data.sources.nifti"),
        *("data.sources.dicom_folder", "data.sources.dicomweb_archive", "data.sources.mapped", "data.sources.coco"),
        "data.sources.mlflow_dataset",
    ),
    libraries=(
        *("numpy", "pillow", "pyarrow", "opencv-python-headless", "nibabel", "pydicom", "highdicom", "pycocotools"),
        "scikit-image",
    ),
)


def curate(context: Context) -> Artifact:
    """The dataset artifact: ``train.parquet``, ``val.parquet``, ``test.parquet`` and ``rejects.parquet``."""
    data = context.settings.data
    sources, steps = build(data.sources), Steps.of(data)
    settings: dict[str, Any] = {
        "sources": [{"kind": type(s).__name__, **s.identity()} for s in sources],
        "splits": data.splits.model_dump(mode="json"),
        "steps": steps.identity(),
    }

    def make(draft: Draft, watch: ProgressReporter) -> None:
        curate_into(draft, data, watch, sources=sources)

    return context.stage(STAGE, make, inputs={}, settings=settings)


def curate_into(
    draft: Draft, data: DataSettings, watch: ProgressReporter, *, sources: list[Source] | None = None
) -> None:
    """Write a data set into a draft; shards that an earlier attempt finished are kept.

    Raises
    ------
    InputError
        If train or test ends up without samples.
    """
    sources = build(data.sources) if sources is None else sources
    folder = draft.scratch / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    shards = list(plan(sources, folder))
    total = sum(shard.masks for shard in shards)
    for done in make_all(shards, Steps.of(data)):
        if done % 16 == 0 or done >= total:
            watch.step(done, max(total, done))
    made = assemble(shards, draft.path, data.splits)
    account = sum((a for s in shards if (a := s.account()) is not None), Account())
    late = sum(reject.masks for reject in made.rejects)
    account = Account(account.masks, account.kept - late, account.rejected + late)
    account.check("the data set")
    table = pq.read_table(draft.path / REJECTS, columns=["where", "reason"])
    for split in ("train", "test"):
        if not made.facts[split]["samples"]:
            first = f"; the first was set aside because: {table['reason'][0]}" if len(table) else ""
            raise InputError(f"no sample is left in {split}{first}")
    draft.facts.update(
        splits={split: made.facts[split] for split in SPLITS},
        masks={"in": account.masks, "kept": account.kept, "rejected": account.rejected},
        rejects=len(table),
        synthetic=all(source.synthetic for source in sources),
        description=" ".join(dict.fromkeys(source.description for source in sources)),
    )
    if len(table):
        watch.note(f"{len(table)} set aside, see {REJECTS}")
