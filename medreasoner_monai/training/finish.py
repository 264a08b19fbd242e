"""What is kept of a finished training: files copied out of its scratch folder, and the checkpoint found best."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ArtifactError, StageFailedError

ADAPTER, LATEST = "adapter_config.json", "latest"
"""What tells a checkpoint of adapters, and one of DeepSpeed's shards."""


def keep(name: str, scratch: Path, folder: Path) -> None:
    """Copy a file of a training's scratch into its artifact, if there is one; it is there in full or not at all.

    What is kept stays in the scratch folder too: an attempt that is killed before the artifact is finished is repeated,
    and needs it again.
    """
    source, target = scratch / name, folder / name
    if not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint with the best validation so far; the last one where nothing was validated.

    Parameters
    ----------
    folder:
        Where the trainer's ``checkpoint-<step>`` folders lie.

    Raises
    ------
    StageFailedError
        If there is none.
    """
    from transformers.trainer_utils import get_last_checkpoint

    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if last is None:
        raise StageFailedError(f"{folder} holds no checkpoint; run the stage again")
    state = json.loads((Path(last) / "trainer_state.json").read_text(encoding="utf-8"))
    best = folder / f"checkpoint-{state.get('best_global_step') or 0}"
    return best if (best / "trainer_state.json").is_file() else Path(last)


def save_whole(checkpoint: Path, start: Path, out: Path) -> None:
    """Save a checkpoint's weights as an ordinary model folder.

    Shards are gathered and adapters merged into the model they began from, as ``medreasoner merge`` does it.

    Raises
    ------
    ArtifactError
        If the weights are not those of the whole model.
    """
    if any((checkpoint / name).is_file() for name in (ADAPTER, LATEST)):
        from medreasoner_monai.training.merging.merge import merge_into

        merge_into(out, checkpoint, base=start)
        return
    from transformers import Qwen2_5_VLForConditionalGeneration

    from medreasoner_monai.reasoners.folder import load_processor

    loaded: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        checkpoint, local_files_only=True, dtype="auto", output_loading_info=True
    )
    model, found = loaded
    if wrong := [*found["missing_keys"], *found["unexpected_keys"]]:
        raise ArtifactError(f"{checkpoint} does not hold the whole model: {', '.join(sorted(wrong)[:3])}")
    model.save_pretrained(out)
    load_processor(start).save_pretrained(out)
