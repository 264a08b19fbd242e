"""What there is to merge, recognised by the files in a folder."""

from __future__ import annotations

from pathlib import Path

from medreasoner_monai.errors import InputError
from medreasoner_monai.training.merging import adapter as peft
from medreasoner_monai.training.merging import fsdp, zero
from medreasoner_monai.training.merging.source import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Source


def open_source(folder: Path, adapter: Path | None = None) -> Source:
    """Recognise what a folder holds and open it.

    Parameters
    ----------
    folder:
        A DeepSpeed checkpoint (a trainer's ``checkpoint-N``, or the step folder itself), verl's FSDP shards (an
        ``actor`` folder, or the step folder around it), a PEFT adapter, or a GRPO artifact.
    adapter:
        The folder with ``adapter_config.json``, when shards hold an adapter's weights and it is not beside them.

    Raises
    ------
    InputError
        If nothing is recognised, or the pieces are not complete and of one saving.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; --shards names the folder of a checkpoint")
    for at in (folder, folder / "shards", folder / "actor"):
        if zero.recognises(at):
            return zero.open_zero(at, adapter)
        if fsdp.recognises(at):
            return fsdp.open_fsdp(at, adapter)
    if (folder / ADAPTER_CONFIG).is_file():
        return peft.open_adapter(folder)
    raise InputError(_unknown(folder))


def _unknown(folder: Path) -> str:
    steps = sorted(
        (p.name for pattern in ("checkpoint-*", "global_step*") for p in folder.glob(pattern) if p.is_dir()),
        key=lambda name: (len(name), name),
    )
    if steps:
        return f"{folder} holds several savings ({', '.join(steps[-4:])}); name one, such as {folder / steps[-1]}"
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return f"{folder} is a whole model folder already; there is nothing to merge"
    if any(folder.rglob("*.distcp")):
        return f"{folder} is a checkpoint of torch.distributed.checkpoint, which is not read here; save it by rank"
    return (
        f"{folder} holds nothing that can be merged: no DeepSpeed checkpoint (latest, *_optim_states.pt), no FSDP "
        f"shards (model_world_size_N_rank_R.pt), no adapter ({ADAPTER_CONFIG}, {ADAPTER_WEIGHTS})"
    )
