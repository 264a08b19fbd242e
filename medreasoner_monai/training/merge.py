"""The merge stage: DeepSpeed's shards become one Hugging Face folder, checked against what was trained."""

from __future__ import annotations

import shutil
from pathlib import Path

from medreasoner_monai.artifacts import Artifact, Draft
from medreasoner_monai.context import Context
from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.reasoners.folder import folder_digest, write_note
from medreasoner_monai.training.grpo import SHARDS
from medreasoner_monai.watch import Watch


def merge(context: Context, start: Artifact, trained: Artifact) -> Artifact:
    """A model artifact: config, safetensors, tokenizer and processor, as a downloaded model would lie there."""

    def make(draft: Draft, watch: Watch) -> None:
        merge_into(draft.path, start.path, trained.path / SHARDS)
        draft.facts["model_digest"] = folder_digest(draft.path)
        write_note(
            draft.path,
            prompt=context.settings.model.prompt,
            stage="GRPO",
            dataset=trained.manifest["inputs"]["dataset"],
            start=start.digest,
            shards=trained.digest,
        )
        watch.step(1, 1)

    return context.stage("model", make, inputs={"start": start, "shards": trained}, settings={}, title="merge")


def merge_into(out: Path, start: Path, shards: Path) -> None:
    """Gather ZeRO shards into a model of the class and config that training started from.

    Raises
    ------
    ArtifactError
        If the shards do not fit the model: parameters missing, unknown or of another shape.
    """
    import torch
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    weights = get_fp32_state_dict_from_zero_checkpoint(str(shards))
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(start, local_files_only=True, dtype=torch.float32)
    tied = set(model.all_tied_weights_keys) if model.config.tie_word_embeddings else set()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    missing = [name for name in missing if name not in tied]
    if missing or unexpected:
        raise ArtifactError(
            f"the shards in {shards} do not fit the model in {start}: missing {missing[:3]}, unknown {unexpected[:3]}"
        )
    model.save_pretrained(out)
    AutoProcessor.from_pretrained(start, local_files_only=True).save_pretrained(out)
    generation = start / "generation_config.json"
    if generation.is_file():
        shutil.copy2(generation, out)
