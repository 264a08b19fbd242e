"""What is kept of a finished training: the checkpoint that validation found best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ArtifactError, StageFailedError

ADAPTER = "adapter_config.json"


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
    """Save a checkpoint's weights as an ordinary model folder; adapters are merged into the model they began from.

    Raises
    ------
    ArtifactError
        If the weights are not those of the whole model.
    """
    from transformers import Qwen2_5_VLForConditionalGeneration

    from medreasoner_monai.reasoners.folder import load_processor

    adapted = (checkpoint / ADAPTER).is_file()
    source = start if adapted else checkpoint
    loaded: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        source, local_files_only=True, dtype="auto", output_loading_info=True
    )
    model, found = loaded
    if wrong := [*found["missing_keys"], *found["unexpected_keys"]]:
        raise ArtifactError(
            f"{source} does not hold the whole model: {', '.join(sorted(wrong)[:3])} missing or unknown"
        )
    if adapted:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(checkpoint)).merge_and_unload()
    model.save_pretrained(out)
    load_processor(start).save_pretrained(out)
