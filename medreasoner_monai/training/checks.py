"""What can be known to be wrong before a training starts: files, tokens, machines, disk."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medreasoner_monai.errors import MedReasonerError
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.data import ParquetSettings
from medreasoner_monai.settings.training import DeepSpeedSettings

IMAGE_TOKENS = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")


@dataclass(frozen=True)
class Longest:
    """The longest prompt of a data set, in tokens with its picture's."""

    tokens: int
    where: str


def model_problems(folder: Path) -> Iterator[str]:
    """What is wrong with a model folder: absent or of another class, shards missing, a tokenizer without pictures."""
    from medreasoner_monai.reasoners.folder import check_folder

    try:
        check_folder(folder)
    except MedReasonerError as error:
        yield str(error)
        return
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if absent := sorted(name for name in named if not (folder / name).is_file()):
            yield f"{folder} lacks {len(absent)} of its {len(named)} weight files, such as {absent[0]}; fetch it again"
    from transformers import AutoTokenizer

    known = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    if absent := [token for token in IMAGE_TOKENS if token not in known]:
        yield f"the tokenizer in {folder} does not know {absent[0]}, so pictures cannot be shown; take a VL model's"


def data_problems(settings: Settings) -> Iterator[str]:
    """What is wrong with the data's files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, source in enumerate(settings.data.sources):
        if not isinstance(source, ParquetSettings):
            continue
        for name, path in (("train", source.train), ("val", source.val), ("test", source.test)):
            where = f"data.sources.{number}.{name}"
            if path is None:
                continue
            try:
                columns = set(pq.read_schema(path).names)
            except (OSError, pa.ArrowException) as error:
                yield f"{where}: {path} cannot be read as Parquet ({str(error).splitlines()[0]})"
                continue
            if absent := {"prompt", "images", "masks", "reward_model", "extra_info"} - columns:
                yield f"{where}: {path} has no column {', '.join(sorted(absent))}"


def longest_prompt(settings: Settings, model: Path) -> Longest | None:
    """The longest prompt of the training data, from the pictures' headers; None for phantoms, which are small."""
    from PIL import Image

    from medreasoner_monai.data.schema import read_rows
    from medreasoner_monai.reasoners.folder import seen_frame
    from medreasoner_monai.task.geometry import Frame
    from medreasoner_monai.task.prompts import template

    files = [source.train for source in settings.data.sources if isinstance(source, ParquetSettings)]
    if not files:
        return None
    from medreasoner_monai.training.base_stage import limited_processor

    processor, prompt = limited_processor(model, settings.model.max_pixels), template(settings.model.prompt)
    merged = (processor.image_processor.patch_size * processor.image_processor.merge_size) ** 2
    longest = Longest(0, "")
    for where, row in (found for path in files for found in read_rows(path)):
        try:
            width, height = Image.open(io.BytesIO(row["images"][0]["bytes"])).size
            seen = seen_frame(processor, Frame(width, height, "stored"))
            question = row["prompt"][-1]["content"].replace("<image>", "")
            chat = processor.apply_chat_template(prompt.messages(question), add_generation_prompt=True, tokenize=False)
        except (MedReasonerError, OSError, LookupError, TypeError):
            continue  # curation sets it aside and says why
        tokens = len(processor.tokenizer(chat)["input_ids"]) - 1 + seen.width * seen.height // merged
        if tokens > longest.tokens:
            longest = Longest(tokens, f"{where}, a picture of {width} x {height}")
    return longest


def machine_problems(settings: Settings, spread: DeepSpeedSettings, stage: str) -> Iterator[str]:
    """Where the settings ask for more than the hardware they state has, or the hostfile does not fit them."""
    hardware = settings.hardware
    if hardware.gpus and spread.processes > hardware.gpus:
        yield f"{stage}: {spread.processes} ranks a machine need as many GPUs, hardware.gpus says {hardware.gpus}"
    if spread.nodes > hardware.nodes:
        yield f"{stage}: {spread.nodes} nodes are asked for, hardware.nodes says {hardware.nodes}"
    if spread.offload != "none" and not hardware.gpus:
        yield f"{stage}: offloading moves things out of a GPU, and hardware.gpus is 0"
    if spread.hostfile is not None and spread.nodes > 1:
        yield from hostfile_problems(spread, stage)


def hostfile_problems(spread: DeepSpeedSettings, stage: str) -> Iterator[str]:
    """What a hostfile lacks: lines are ``name slots=8``."""
    assert spread.hostfile is not None
    try:
        lines = spread.hostfile.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        yield f"{stage}: the hostfile {spread.hostfile} cannot be read: {error.strerror}"
        return
    hosts = 0
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        slots = words[1].partition("=") if len(words) == 2 else ("", "", "")
        if slots[0] != "slots" or not slots[2].isdigit():
            yield f"{stage}: {spread.hostfile}, line {number}: expected `name slots=8`, found {line.strip()!r}"
        elif int(slots[2]) < spread.processes:
            yield f"{stage}: {words[0]} has {slots[2]} slots, {spread.processes} ranks a machine are asked for"
        hosts += 1
    if hosts < spread.nodes:
        yield f"{stage}: {spread.hostfile} names {hosts} machines, {spread.nodes} are asked for"


def here_problems(settings: Settings) -> Iterator[str]:
    """What this very machine lacks for the settings: to be looked at where the training is to run."""
    import torch

    here = torch.cuda.device_count()
    if settings.hardware.gpus > here:
        yield f"the settings are for {settings.hardware.gpus} GPUs a machine, and here are {here}"
    if settings.grpo.generation.engine != "transformers" and importlib.util.find_spec("vllm") is None:
        yield "grpo.generation.engine needs vLLM, which is not installed: uv pip install medreasoner-monai[vllm]"
    if settings.model.attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        yield "model.attention: flash_attention_2 needs flash-attn, which is not installed; auto takes what is there"


def disk_problem(workspace: Path, needed: float) -> str | None:
    """Whether ``needed`` GB of checkpoints fit into what is free where the workspace is."""
    place = workspace
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if free >= needed:
        return None
    return (
        f"checkpoints need up to {needed:.0f} GB under {workspace}, and {free:.0f} GB are free; free some, or move it"
    )
