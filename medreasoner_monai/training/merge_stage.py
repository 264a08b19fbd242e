"""The merge stage: DeepSpeed's shards become one Hugging Face folder, checked against what was trained."""

from __future__ import annotations

from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.reasoners.folder import folder_digest
from medreasoner_monai.training.grpo_stage import SHARDS
from medreasoner_monai.training.merging.merge import merge_into

STAGE = Stage(
    "merge",
    "model",
    version=1,
    code=("training.merging.merge",),
    libraries=("torch", "transformers", "safetensors", "peft"),
)


def merge(context: Context, start: Artifact, trained: Artifact) -> Artifact:
    """A model artifact: config, safetensors, tokenizer and processor, as a downloaded model would lie there."""

    def make(draft: Draft, watch: ProgressReporter) -> None:
        known = {
            "prompt": context.settings.model.prompt,
            "stage": "GRPO",
            "dataset": trained.manifest["inputs"]["dataset"],
            "start": start.digest,
            "shards": trained.digest,
        }
        facts = merge_into(
            draft.path, trained.path / SHARDS, base=start.path, known=known, watch=watch, name="medreasoner"
        )
        draft.facts.update(facts, model_digest=folder_digest(draft.path))

    return context.stage(STAGE, make, inputs={"start": start, "shards": trained}, settings={})
