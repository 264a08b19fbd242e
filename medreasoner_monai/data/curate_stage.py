"""The curate stage: sources in, train / val / test in the U-MRG schema out, and a table of what was set aside."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pyarrow.parquet as pq

from medreasoner_monai.data import splits
from medreasoner_monai.data.assemble import REJECTS, assemble
from medreasoner_monai.data.card import write_card
from medreasoner_monai.data.review.applied import Reviews
from medreasoner_monai.data.shards import plan
from medreasoner_monai.data.sources.protocol import Source
from medreasoner_monai.data.sources.registry import build
from medreasoner_monai.data.splits import SPLITS
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.data.workers import make_all
from medreasoner_monai.data.writers.absent import Census
from medreasoner_monai.data.writers.spending import Spending
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import object_digest
from medreasoner_monai.pipeline.artifacts import Artifact, content
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings, QuestionSettings

STAGE = Stage(
    "curate",
    "dataset",
    version=6,
    code=(
        *("data.assemble", "data.steps", "data.workers", "data.sources.registry"),
        *("data.sources.phantoms", "data.sources.parquet", "data.sources.folders", "data.sources.nifti"),
        *("data.sources.dicom_folder", "data.sources.dicomweb_archive", "data.sources.mapped", "data.sources.coco"),
        "data.sources.mlflow_dataset",
    ),
    libraries=(
        *("numpy", "pillow", "pyarrow", "opencv-python-headless", "nibabel", "pydicom", "highdicom", "pycocotools"),
        "scikit-image",
        "pynrrd",
    ),
)


def curate(context: Context) -> Artifact:
    """The dataset artifact: ``train.parquet``, ``val.parquet``, ``test.parquet``, ``rejects.parquet`` and its card."""
    data = context.settings.data
    sources, steps, reviews = build(data.sources), Steps.of(data), Reviews.of(data.review)
    settings: dict[str, Any] = {
        "sources": [{"kind": type(s).__name__, **s.identity()} for s in sources],
        "splits": splits.identity(data.splits),
        "firewall": data.firewall.model_dump(mode="json"),
        "steps": steps.identity(),
    }
    if reviews:
        settings["review"] = reviews.identity()

    def make(draft: Draft, watch: ProgressReporter) -> None:
        curate_into(draft, data, watch, sources=sources, reviews=reviews)
        track(context, draft)

    return context.stage(STAGE, make, inputs={}, settings=settings)


def curate_into(
    draft: Draft,
    data: DataSettings,
    watch: ProgressReporter,
    *,
    sources: list[Source] | None = None,
    reviews: Reviews | None = None,
) -> None:
    """Write a data set into a draft; shards that an earlier attempt finished are kept.

    Raises
    ------
    InputError
        If train or test ends up without samples.
    """
    sources = build(data.sources) if sources is None else sources
    reviews = reviews or Reviews.of(data.review)
    folder = draft.scratch / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    shards = list(plan(sources, folder))
    total = sum(shard.masks for shard in shards)
    census = Census.of(unit for shard in shards for unit in shard.units)
    for done in make_all(shards, Steps.of(data, census), data.work):
        if done % 16 == 0 or done >= total:
            watch.step(done, max(total, done))
    made = assemble(shards, draft.path, data, draft.scratch, reviews)
    account = sum((a for s in shards if (a := s.account()) is not None), Account())
    late = sum(reject.masks for reject in made.rejects)
    account = replace(account, kept=account.kept - late, rejected=account.rejected + late)
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
        groups=made.groups,
        leaks=made.leaks,
        synthetic=all(source.synthetic for source in sources),
        description=" ".join(dict.fromkeys(source.description for source in sources)),
    )
    draft.facts["sources"] = [
        {"name": s.name, "kind": type(s).__name__, "description": s.description, "synthetic": s.synthetic}
        for s in sources
    ]
    if account.spent.requests or account.spent.cached:
        draft.facts["language_model"] = spent = _bill(account.spent, data.questions)
        watch.note("language model: " + ", ".join(f"{name} {value:,}" for name, value in spent.items()))
    write_card(draft.path, draft.facts)
    if len(table):
        watch.note(f"{len(table)} set aside, see {REJECTS}")


def track(context: Context, draft: Draft) -> None:
    """Log the data set as an input of an MLflow run of its own: name, digest and counts."""
    name = draft.path.name.removesuffix(".partial")
    run = context.tracking.run("curate", draft.scratch, {"stage": "curate"}, parent=context.parent_run)
    splits: dict[str, Any] = draft.facts["splits"]
    counts = {split: {"samples": f["samples"], "groups": f["groups"]} for split, f in splits.items()}
    with run.ending():
        run.figures({f"samples/{split}": found["samples"] for split, found in counts.items()})
        run.figures({f"masks/{name}": count for name, count in draft.facts["masks"].items()})
        run.dataset(name, object_digest(content(draft.path)), "curation", {**counts, "masks": draft.facts["masks"]})
    draft.facts["mlflow_run"] = run.id


def _bill(spent: Spending, questions: QuestionSettings) -> dict[str, float]:
    """Requests, tokens and, where prices are given, the cost. Writer and judge are charged at the writer's prices."""
    model = questions.llm or questions.judge
    cost = 0.0 if model is None else spent.cost(model.price_in, model.price_out)
    return asdict(spent) | ({"cost": round(cost, 4)} if cost else {})
