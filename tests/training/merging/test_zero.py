"""DeepSpeed's checkpoints: gathered whole or refused with what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.training.merging.merge import merge_to
from medreasoner_monai.training.merging.recognise import open_source
from tests.training.merging.checkpoints import LORA, TRUTH
from tests.training.merging.conftest import load

pytestmark = pytest.mark.chain

OPTIM = "zero_pp_rank_{}_mp_rank_00_optim_states.pt"
MODEL = "zero_pp_rank_{}_mp_rank_00_model_states.pt"


@pytest.mark.parametrize(("name", "dtype"), [("zero1-frozen", "bfloat16"), ("zero2", "float32"), ("zero3", "float32")])
def test_merged_model_is_the_live_one(
    name: str, dtype: str, checkpoints: Path, tiny_model: Path, untied_model: Path, tmp_path: Path
) -> None:
    base = untied_model if name == "zero3" else tiny_model
    facts = merge_to(tmp_path / "out", checkpoints / name, base=base)
    assert (facts["dtype"], facts["step"], facts["probe"]["max_abs_difference"]) == (dtype, 2, 0)
    live, merged, start = load_file(checkpoints / name / TRUTH), load(tmp_path / "out", "auto"), load(base)
    parameters = dict(merged.named_parameters())
    assert parameters.keys() == live.keys()
    assert all(torch.equal(parameters[key], live[key]) for key in live)
    assert not torch.equal(live["model.language_model.norm.weight"].float(), start.model.language_model.norm.weight)


@pytest.mark.parametrize("name", ["zero2-lora", "zero3-lora"])
def test_adapter_in_shards_is_merged_by_its_formula(
    name: str, checkpoints: Path, tiny_model: Path, tmp_path: Path
) -> None:
    facts = merge_to(tmp_path / "out", checkpoints / name, base=tiny_model)
    assert facts["source"] == f"LoRA in ZeRO-{name[4]} shards of 2 ranks"
    assert facts["probe"]["max_abs_difference"] < 1e-5
    live, base = load_file(checkpoints / name / TRUTH), load(tiny_model).state_dict()
    changed = 0
    for key, tensor in load(tmp_path / "out").state_dict().items():
        module = f"base_model.model.{key.removesuffix('.weight')}"
        expected = base[key]
        if f"{module}.lora_A.default.weight" in live:
            a, b = (live[f"{module}.lora_{x}.default.weight"].double() for x in "AB")
            expected = (base[key].double() + LORA["lora_alpha"] / LORA["r"] * b @ a).float()
            changed += not torch.equal(expected, base[key])
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)
    assert changed == 6  # q, v and up of two layers; the vision tower's have no q and v of their own


def test_nothing_of_deepspeeds_is_printed(
    checkpoints: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    merge_to(tmp_path / "out", checkpoints / "zero2", base=tiny_model)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_manifest_and_card_say_where_it_is_from(checkpoints: Path, tiny_model: Path, tmp_path: Path) -> None:
    merge_to(tmp_path / "merged", checkpoints / "zero2", base=tiny_model)
    artifact = Artifact.open(tmp_path / "merged", "model", verify=True)
    assert artifact.facts["probe"]["device"] == "cpu"
    card = (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    assert "| merged from | ZeRO-2 shards of 2 ranks |" in card
    assert "| training step | 2 |" in card
    assert "differ from those of the live model (float32, cpu) by at most 0;" in card
    assert "Research use only" in card


def copied(checkpoints: Path, name: str, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoints / name, tmp_path / name)


def test_missing_rank_is_named(checkpoints: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero2", tmp_path)
    (folder / "global_step2" / OPTIM.format(1)).unlink()
    with pytest.raises(InputError, match=r"saved by 2 ranks, and the \*_optim_states.pt of rank 1 is missing"):
        open_source(folder)


def test_missing_part_of_the_model_is_named(checkpoints: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero3", tmp_path)
    (folder / "global_step2" / MODEL.format(0)).unlink()
    with pytest.raises(InputError, match=r"the \*_model_states.pt of rank 0 is missing"):
        open_source(folder)


def test_left_over_shard_of_a_larger_training_is_named(checkpoints: Path, tmp_path: Path) -> None:
    step = copied(checkpoints, "zero2", tmp_path) / "global_step2"
    shutil.copy(step / OPTIM.format(0), step / OPTIM.format(5))
    with pytest.raises(InputError, match=re.escape(f"saved by 2 ranks, but also has {OPTIM.format(5)}")):
        open_source(step.parent)


def test_step_folder_that_is_not_there_is_named(checkpoints: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero2", tmp_path)
    (folder / "latest").write_text("global_step9")
    with pytest.raises(InputError, match=r"names 'global_step9', but there is no such folder"):
        open_source(folder)


def changed(path: Path, change: Any) -> None:
    state = torch.load(path, weights_only=False)
    change(state)
    torch.save(state, path)


def test_optimiser_of_another_step_is_noticed(checkpoints: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero3", tmp_path)

    def later(state: dict[str, Any]) -> None:
        state["optimizer_state_dict"]["optimizer_state_dict"]["state"][0]["step"] += 5

    changed(folder / "global_step2" / OPTIM.format(1), later)
    with pytest.raises(InputError, match=r"rank_0_mp_rank_00_optim_states.pt at step 2 and .*rank_1.* at step 7"):
        open_source(folder)


def test_model_state_of_another_step_or_size_is_noticed(checkpoints: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero3", tmp_path)
    second = folder / "global_step2" / MODEL.format(1)
    changed(second, lambda state: state.update(global_steps=8))
    with pytest.raises(InputError, match=r"was saved at step 8, the first rank's at step 2"):
        open_source(folder)
    changed(second, lambda state: state.update(global_steps=2, dp_world_size=4))
    with pytest.raises(InputError, match=r"was saved at 4 ranks, the first rank's at 2 ranks"):
        open_source(folder)


def test_folder_renamed_to_another_step_is_noticed(checkpoints: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero2", tmp_path)
    (folder / "global_step2").rename(folder / "global_step4")
    with pytest.raises(InputError, match=r"global_step4 holds files of step 2"):
        open_source(folder / "global_step4")


def test_ranks_exchanged_under_the_same_step_are_noticed(checkpoints: Path, tiny_model: Path, tmp_path: Path) -> None:
    step = copied(checkpoints, "zero2", tmp_path) / "global_step2"
    shutil.copy(step / OPTIM.format(0), step / OPTIM.format(1))
    with pytest.raises(InputError, match=r"put together from the ranks is not what the model's state holds"):
        merge_to(tmp_path / "out", step, base=tiny_model)


def test_exchanged_ranks_of_stage_3_are_caught_by_the_probe(
    checkpoints: Path, untied_model: Path, tmp_path: Path
) -> None:
    step = copied(checkpoints, "zero3", tmp_path) / "global_step2"
    shutil.copy(step / OPTIM.format(0), step / OPTIM.format(1))
    with pytest.raises(ArtifactError, match=r"logits differ by"):
        merge_to(tmp_path / "out", step, base=untied_model)
    assert not list(tmp_path.glob("*out*"))


def test_code_in_a_file_is_refused_and_not_run(checkpoints: Path, tmp_path: Path) -> None:
    from tests.training.merging.test_fsdp import Trap

    folder = copied(checkpoints, "zero2", tmp_path)
    changed(folder / "global_step2" / OPTIM.format(1), lambda state: state.update(x=Trap(tmp_path / "sprung")))
    with pytest.raises(InputError, match=r"would run \w*.mkdir when loaded"):
        open_source(folder)
    assert not (tmp_path / "sprung").exists()


def test_file_that_was_cut_off_is_named(checkpoints: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero2", tmp_path)
    path = folder / "global_step2" / OPTIM.format(1)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"rank_1_mp_rank_00_optim_states.pt is damaged or cut off"):
        open_source(folder)


def test_adapter_config_can_be_named(checkpoints: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = copied(checkpoints, "zero2-lora", tmp_path)
    (tmp_path / "config").mkdir()
    (folder / "adapter_config.json").rename(tmp_path / "config" / "adapter_config.json")
    with pytest.raises(InputError, match=r"LoRA weights without adapter_config.json; name the folder that has it"):
        merge_to(tmp_path / "out", folder, base=tiny_model)
    assert merge_to(tmp_path / "out", folder, base=tiny_model, adapter=tmp_path / "config")["step"] == 2


def test_base_of_another_training_is_noticed(
    checkpoints: Path, tiny_model: Path, untied_model: Path, tmp_path: Path
) -> None:
    """Same shapes, so only the weights that the adapter's config names can tell."""
    named = json.loads((checkpoints / "zero2-lora" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(named) == tiny_model
    with pytest.raises(InputError, match=r"whose weights are not those of"):
        merge_to(tmp_path / "out", checkpoints / "zero2-lora", base=untied_model)
