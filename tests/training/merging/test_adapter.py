"""Adapters that PEFT saved, merged and held against the formula."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from medreasoner_monai.errors import InputError
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.reasoners.starter import build
from medreasoner_monai.settings.starter import StarterSettings
from medreasoner_monai.training.merging.merge import merge_to
from medreasoner_monai.training.merging.probe import make_probe
from tests.training.merging.conftest import load

TARGETS = ["q_proj", "down_proj"]


def adapter(base: Path, out: Path, *, probe: bool = True, **options: Any) -> Path:
    """An adapter with something in it, as if it had been trained."""
    settings = {"r": 4, "lora_alpha": 6, "target_modules": TARGETS} | options
    model = get_peft_model(load(base), LoraConfig(**settings))
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(out, save_embedding_layers=False)
    if probe:
        make_probe(model, load_processor(base)).save(out)
    return out


@pytest.mark.parametrize(("rslora", "scale"), [(False, 6 / 4), (True, 6 / 2)])
def test_adapter_is_added_to_its_base(tiny_model: Path, tmp_path: Path, rslora: bool, scale: float) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter", use_rslora=rslora)
    facts = merge_to(tmp_path / "out", folder, base=tiny_model)
    assert facts["source"] == "a LoRA adapter"
    assert facts["probe"]["max_abs_difference"] < 1e-5
    parts, before = load_file(folder / "adapter_model.safetensors"), load(tiny_model).state_dict()
    seen = set()
    for key, tensor in load(tmp_path / "out").state_dict().items():
        module = f"base_model.model.{key.removesuffix('.weight')}"
        expected = before[key]
        if f"{module}.lora_A.weight" in parts:
            a, b = (parts[f"{module}.lora_{x}.weight"].double() for x in "AB")
            expected = (expected.double() + scale * b @ a).float()
            seen |= {f"{module}.lora_A.weight", f"{module}.lora_B.weight"}
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)
    assert seen == parts.keys()


@pytest.mark.parametrize("form", ["file", "shards"])
def test_everything_that_lora_trains_is_merged(form: str, untied_model: Path, tmp_path: Path) -> None:
    """Weight-decomposed LoRA, biases of the base, and a layer trained whole."""
    options: dict[str, Any] = {"use_dora": True, "modules_to_save": ["lm_head"], "bias": "lora_only"}
    model = get_peft_model(load(untied_model), LoraConfig(r=4, target_modules=TARGETS, **options))
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) / 20
    probe = make_probe(model, load_processor(untied_model))
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    if form == "shards":
        torch.save(model.state_dict(), tmp_path / "adapter" / "model_world_size_1_rank_0.pt")
    probe.save(tmp_path / "adapter")
    assert merge_to(tmp_path / "out", tmp_path / "adapter", base=untied_model)["probe"]["max_abs_difference"] < 1e-5
    plain = make_probe(load(untied_model), load_processor(untied_model))
    assert (plain.logits - probe.logits).abs().max() > 1e-2


def test_names_of_older_transformers_are_read(tiny_model: Path, tmp_path: Path) -> None:
    new = adapter(tiny_model, tmp_path / "new")
    old = shutil.copytree(new, tmp_path / "old")
    parts = load_file(new / "adapter_model.safetensors")
    renamed = {k.replace("model.model.language_model.", "model.model."): v for k, v in parts.items()}
    renamed = {k.replace("model.model.visual.", "model.visual."): v for k, v in renamed.items()}
    assert renamed.keys().isdisjoint(parts)
    save_file(renamed, old / "adapter_model.safetensors")
    for folder in (new, old):
        merge_to(tmp_path / f"{folder.name}-out", folder, base=tiny_model)
    merged = [load_file(tmp_path / out / "model.safetensors") for out in ("new-out", "old-out")]
    assert merged[0].keys() == merged[1].keys()
    assert all(torch.equal(tensor, merged[1][key]) for key, tensor in merged[0].items())


def test_half_precision_base_is_rounded_once(tiny_model: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    load(tiny_model, torch.bfloat16).save_pretrained(half)
    load_processor(tiny_model).save_pretrained(half)
    folder = adapter(half, tmp_path / "adapter", probe=False)
    assert merge_to(tmp_path / "out", folder, base=half)["dtype"] == "bfloat16"
    key = "model.language_model.layers.0.self_attn.q_proj"
    parts = load_file(folder / "adapter_model.safetensors")
    a, b = (parts[f"base_model.model.{key}.lora_{x}.weight"].float() for x in "AB")
    exact = load(half).state_dict()[f"{key}.weight"] + 1.5 * b @ a
    merged = load(tmp_path / "out", "auto").state_dict()[f"{key}.weight"]
    assert torch.equal(merged, exact.to(torch.bfloat16))


def test_base_of_another_size_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter")
    sizes = StarterSettings(hidden_size=48, layers=2, heads=2, vision_hidden_size=32, vision_layers=2, vision_heads=2)
    build(tmp_path / "other", ["Where is it?"], sizes.model_copy(update={"vocabulary": 700}))
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "Lingshu-7B"}))
    with pytest.raises(InputError, match=r"is of shape \(\d+, \d+\), the base asks for .* another size of the model"):
        merge_to(tmp_path / "out", folder, base=tmp_path / "other")
    assert not list(tmp_path.glob("*out*"))


def test_adapter_for_other_layers_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter")
    parts = load_file(folder / "adapter_model.safetensors")
    name = min(parts)
    save_file(
        {**parts, name.replace("layers.0", "layers.7"): parts[name].clone()}, folder / "adapter_model.safetensors"
    )
    with pytest.raises(InputError, match=r"layers.7.*which the base has no place for"):
        merge_to(tmp_path / "out", folder, base=tiny_model)


def test_lost_part_of_an_adapter_is_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter")
    parts = load_file(folder / "adapter_model.safetensors")
    lost = min(parts)
    save_file({k: v for k, v in parts.items() if k != lost}, folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match=f"lacks {lost}"):
        merge_to(tmp_path / "out", folder, base=tiny_model)


def test_base_with_other_weights_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter")
    other = shutil.copytree(tiny_model, tmp_path / "other")
    changed = {k: v + 1 for k, v in load_file(other / "model.safetensors").items()}
    save_file(changed, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"was trained on .*, whose weights are not those of"):
        merge_to(tmp_path / "out", folder, base=other)


def test_frozen_weights_in_shards_must_be_the_bases(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter", probe=False)
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "Lingshu-7B"}))
    model = get_peft_model(load(tiny_model), LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS))
    state = model.state_dict()
    torch.save(state, folder / "model_world_size_1_rank_0.pt")
    assert merge_to(tmp_path / "right", folder, base=tiny_model)["source"] == "LoRA in FSDP shards of 1 rank"
    frozen = "base_model.model.model.language_model.layers.1.self_attn.q_proj.base_layer.weight"
    torch.save({**state, frozen: state[frozen] * 2}, folder / "model_world_size_1_rank_0.pt")
    with pytest.raises(InputError, match=r"trained on another base than .*: model.language.*q_proj.weight differs"):
        merge_to(tmp_path / "wrong", folder, base=tiny_model)


def test_adapter_on_tied_embeddings_is_refused(tiny_model: Path, untied_model: Path, tmp_path: Path) -> None:
    targets = [*TARGETS, "lm_head"]
    tied = adapter(tiny_model, tmp_path / "tied", target_modules=targets, probe=False)
    with pytest.raises(InputError, match=r"changes the word embeddings, which .* ties to its output"):
        merge_to(tmp_path / "out", tied, base=tiny_model)
    untied = adapter(untied_model, tmp_path / "untied", target_modules=targets)
    assert merge_to(tmp_path / "out", untied, base=untied_model)["probe"]["max_abs_difference"] < 1e-5


def test_start_that_changes_the_base_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter", init_lora_weights="pissa", probe=False)
    with pytest.raises(InputError, match=r"started as 'pissa', which changes the base"):
        merge_to(tmp_path / "out", folder, base=tiny_model)


def test_other_kinds_of_adapter_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    config = IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
    get_peft_model(load(tiny_model), config).save_pretrained(tmp_path / "ia3", save_embedding_layers=False)
    with pytest.raises(InputError, match=r"adapter of type IA3, only LORA can be merged"):
        merge_to(tmp_path / "out", tmp_path / "ia3", base=tiny_model)


def test_adapter_without_weights_or_base_says_what_is_missing(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "adapter")
    with pytest.raises(InputError, match=r"a LoRA adapter alone; --base names the model"):
        merge_to(tmp_path / "out", folder)
    (folder / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"adapter_model.safetensors is damaged or cut off"):
        merge_to(tmp_path / "out", folder, base=tiny_model)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no adapter_model.safetensors; save the adapter as safetensors"):
        merge_to(tmp_path / "out", folder, base=tiny_model)
