"""What a merge leaves, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.store import Store
from medreasoner_monai.reasoners.folder import check_folder, folder_digest, load_processor, read_note, write_note
from medreasoner_monai.training.merging.merge import merge_to
from medreasoner_monai.training.merging.model import check_weights, write_weights
from medreasoner_monai.training.merging.probe import make_probe
from medreasoner_monai.training.merging.recognise import open_source
from tests.integration.conftest import medreasoner
from tests.training.merging.conftest import load

Save = Callable[[dict[str, torch.Tensor]], Path]


def state(folder: Path, dtype: Any = torch.float32) -> dict[str, torch.Tensor]:
    return dict(load(folder, dtype).state_dict())


def test_folder_is_an_artifact_that_loads_and_says_what_it_is(
    tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    write_note(base, prompt="brief")
    shards = saved_by_one_rank(state(base))
    make_probe(load(base), load_processor(base)).save(shards)
    facts = merge_to(tmp_path / "out", shards, base=base)
    out = tmp_path / "out"
    artifact = Artifact.open(out, "model", verify=True)
    assert artifact.facts == facts == read_note(out)
    assert (facts["base"], facts["step"], facts["prompt"]) == (folder_digest(base), 7, "brief")
    assert facts["probe"]["max_abs_difference"] <= facts["probe"]["tolerance"] < 1e-3
    assert check_folder(out)["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]
    for file in ("tokenizer.json", "processor_config.json", "chat_template.jinja", "generation_config.json"):
        assert (out / file).read_bytes() == (base / file).read_bytes()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert facts["base"] in card
    assert "# out\n" in card
    assert "Research use only" in card
    assert {p.stat().st_mode & 0o777 for p in out.iterdir()} == {(out / "config.json").stat().st_mode & 0o777}


def test_nothing_is_overwritten(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    shards = saved_by_one_rank(state(tiny_model))
    out = tmp_path / "out"
    out.mkdir()
    merge_to(out, shards, base=tiny_model)  # an empty folder may be filled
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    with pytest.raises(InputError, match=r"out exists already; nothing is overwritten"):
        merge_to(out, shards, base=tiny_model)
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
    with pytest.raises(InputError, match=r"exists already"):
        merge_to(tiny_model / "config.json", shards, base=tiny_model)


def test_failed_merge_leaves_nothing(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    tensors = state(tiny_model)
    tensors["model.visual.merger.ln_q.weight"][3] = torch.nan
    shards = saved_by_one_rank(tensors)
    with pytest.raises(InputError, match=r"merger.ln_q.weight holds NaN or infinity; the training diverged"):
        merge_to(tmp_path / "new" / "out", shards, base=tiny_model)
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize(
    ("trained", "asked", "stored"),
    [
        (torch.bfloat16, None, "bfloat16"),
        (torch.float32, None, "float32"),
        (torch.float32, "bfloat16", "bfloat16"),
        (torch.bfloat16, "float32", "float32"),
    ],
)
def test_precision_is_that_of_the_training_or_as_asked(
    trained: torch.dtype, asked: str | None, stored: str, tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    tensors = state(tiny_model, trained)
    assert merge_to(tmp_path / "out", saved_by_one_rank(tensors), base=tiny_model, dtype=asked)["dtype"] == stored
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == stored
    for key, tensor in state(tmp_path / "out", "auto").items():
        assert torch.equal(tensor, tensors[key].to(getattr(torch, stored)))


def test_unknown_precision_names_the_nearest(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no dtype 'bfloat'. Did you mean 'bfloat16'"):
        merge_to(tmp_path / "out", tiny_model, base=tiny_model, dtype="bfloat")


def test_tied_weights_lie_in_the_folder_once(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    tensors = state(tiny_model)
    assert torch.equal(tensors["lm_head.weight"], tensors["model.language_model.embed_tokens.weight"])
    merge_to(tmp_path / "out", saved_by_one_rank(tensors), base=tiny_model)
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")


def test_tied_weights_that_differ_are_refused(
    tiny_model: Path, untied_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    shards = saved_by_one_rank(state(untied_model))
    with pytest.raises(
        InputError, match=r"ties lm_head.weight to .*embed_tokens.weight, but the shards hold different"
    ):
        merge_to(tmp_path / "out", shards, base=tiny_model)
    merge_to(tmp_path / "out", shards, base=untied_model)
    assert "lm_head.weight" in load_file(tmp_path / "out" / "model.safetensors")


def test_output_layer_that_is_not_tied_must_be_there(
    tiny_model: Path, untied_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    tensors = state(tiny_model)
    del tensors["lm_head.weight"]
    with pytest.raises(InputError, match=r"1 parameters are missing, such as lm_head.weight"):
        merge_to(tmp_path / "out", saved_by_one_rank(tensors), base=untied_model)


def test_parameters_of_another_model_are_refused(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    tensors = state(tiny_model)
    tensors["model.language_model.layers.2.mlp.up_proj.weight"] = torch.zeros(2)
    with pytest.raises(InputError, match=r"1 parameters are unknown, such as model.language_model.layers.2"):
        merge_to(tmp_path / "out", saved_by_one_rank(tensors), base=tiny_model)


def test_parameters_of_another_size_are_refused(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    tensors = state(tiny_model)
    tensors["model.visual.merger.ln_q.weight"] = torch.zeros(33)
    with pytest.raises(InputError, match=r"ln_q.weight is of shape \(33,\), .* asks for \(32,\)"):
        merge_to(tmp_path / "out", saved_by_one_rank(tensors), base=tiny_model)


def test_base_of_another_architecture_is_refused(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(InputError, match=r"base holds LlamaForCausalLM, expected Qwen2_5_VL"):
        merge_to(tmp_path / "out", saved_by_one_rank(state(tiny_model)), base=base)


def test_config_that_the_shards_brought_stands_in_for_a_base(
    tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    shards = saved_by_one_rank(state(tiny_model))
    with pytest.raises(InputError, match=r"FSDP shards of 1 rank alone; --base names the model"):
        merge_to(tmp_path / "out", shards)
    shutil.copytree(tiny_model, shards / "huggingface", ignore=shutil.ignore_patterns("*.safetensors"))
    assert "base" not in merge_to(tmp_path / "out", shards)
    assert load_processor(tmp_path / "out")


def test_base_without_a_processor_is_refused_before_anything_is_written(
    tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base", ignore=shutil.ignore_patterns("processor_config.json"))
    with pytest.raises(InputError, match=r"base has no processor"):
        merge_to(tmp_path / "out", saved_by_one_rank(state(tiny_model)), base=base)


def test_probe_of_another_model_is_refused(
    tiny_model: Path, untied_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    shards = saved_by_one_rank(state(tiny_model))
    wrong = make_probe(load(untied_model), load_processor(untied_model)).save(tmp_path)
    with pytest.raises(ArtifactError, match=r"logits differ by .* shards and probe are not of one checkpoint"):
        merge_to(tmp_path / "out", shards, base=tiny_model, probe=wrong)
    with pytest.raises(InputError, match=r"there is no probe"):
        merge_to(tmp_path / "out", shards, base=tiny_model, probe=tmp_path / "other.safetensors")


def test_what_is_written_wrongly_is_found_when_read_back(tiny_model: Path, tmp_path: Path) -> None:
    tensors = state(tiny_model)
    write_weights(tmp_path, tiny_model, tensors, torch.float32, lambda name: None)
    assert check_weights(tmp_path, tensors, torch.float32, lambda name: None) == load(tiny_model).num_parameters()
    path = tmp_path / "model.safetensors"
    stored = load_file(path)
    stored["visual.merger.ln_q.weight"][5] += 1e-6
    save_file(stored, path, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"merger.ln_q.weight was written differently"):
        check_weights(tmp_path, tensors, torch.float32, lambda name: None)
    del stored["visual.merger.ln_q.weight"]
    save_file(stored, path, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"does not load cleanly.*missing_keys.*merger.ln_q.weight"):
        check_weights(tmp_path, tensors, torch.float32, lambda name: None)


def test_large_models_are_written_in_several_files(
    tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medreasoner_monai.training.merging.model.SHARD_SIZE", "200KB")
    merge_to(tmp_path / "out", saved_by_one_rank(state(tiny_model)), base=tiny_model)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    assert (tmp_path / "out" / "model.safetensors.index.json").is_file()
    merged = state(tmp_path / "out")
    assert all(torch.equal(tensor, merged[key]) for key, tensor in state(tiny_model).items())


def test_lineage_is_taken_from_the_artifact_around_the_shards(
    tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path
) -> None:
    shards = saved_by_one_rank(state(tiny_model))
    store = Store(tmp_path / "artifacts")
    settings = {"steps": 7, "prompt": "think"}
    inputs = {"dataset": "d" * 64, "start": "s" * 64}
    with store.make("grpo", "key", inputs, settings) as draft:
        shutil.copytree(shards, draft.path / "shards")
        (draft.path / "metrics.jsonl").write_text(
            '{"step": 6, "reward": 0.2}\n{"step": 7, "reward": 0.31, "kl": 0.01}\n'
        )
    trained = Artifact.open(tmp_path / "artifacts" / "grpo-key")
    facts = merge_to(tmp_path / "out", trained.path, base=tiny_model)
    assert (facts["dataset"], facts["start"], facts["shards"]) == ("d" * 64, "s" * 64, trained.digest)
    assert facts["prompt"] == "think"
    assert facts["figures"] == {"reward": 0.31, "kl": 0.01}
    assert Artifact.open(tmp_path / "out").manifest["inputs"]["dataset"] == "d" * 64
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| reward | 0.31 |" in card
    assert trained.digest in card


def test_step_and_figures_are_taken_from_the_trainer(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    folder = saved_by_one_rank(state(tiny_model)).rename(tmp_path / "checkpoint-40")
    log = [{"loss": 2.5, "step": 20}, {"loss": 1.5, "step": 40}, {"train_runtime": 3.0}]
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 40, "log_history": log}))
    facts = merge_to(tmp_path / "out", folder, base=tiny_model)
    assert (facts["step"], facts["figures"]) == (40, {"loss": 1.5})


def test_what_is_not_recognised_is_told_apart(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no folder"):
        open_source(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"holds nothing that can be merged: no DeepSpeed checkpoint"):
        open_source(tmp_path)
    with pytest.raises(InputError, match=r"is a whole model folder already"):
        open_source(tiny_model)
    for name in ("checkpoint-9", "checkpoint-10"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"several savings \(checkpoint-9, checkpoint-10\); name one, .*checkpoint-10"):
        open_source(tmp_path)


def test_command_merges_and_tells(tiny_model: Path, saved_by_one_rank: Save, tmp_path: Path) -> None:
    shards = saved_by_one_rank(state(tiny_model))
    asked = ("merge", "--shards", str(shards), "--base", str(tiny_model), "--out", str(tmp_path / "out"))
    done = medreasoner(*asked)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out'}\n"), done.stderr
    assert "FSDP shards of 1 rank, step 7: 134,016 parameters in float32, read back and equal" in done.stderr
    assert "Loading weights" not in done.stderr
    again = medreasoner(*asked)
    assert again.returncode == 2
    assert "nothing is overwritten" in again.stderr
    assert "Traceback" not in again.stderr
