"""A probe of the live model with every checkpoint, for the merged folder to be held against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from medreasoner_monai.training.merging.probe import make_probe


class KeepProbe(TrainerCallback):
    """Asks the model one thing at each checkpoint and keeps the logits beside the shards of that step."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Every rank takes part: under ZeRO-3 no rank has the parameters alone."""
        probe = make_probe(kwargs["model"], kwargs["processing_class"])
        shards = Path(args.output_dir) / f"checkpoint-{state.global_step}" / f"global_step{state.global_step}"
        if state.is_world_process_zero and shards.is_dir():
            probe.save(shards)
