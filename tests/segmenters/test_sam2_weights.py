"""SAM 2's weights are loaded whole, unchanged and as data, or not at all."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import file_digest
from medreasoner_monai.segmenters import sam2_names
from medreasoner_monai.segmenters.registry import NEED_WEIGHTS, build
from medreasoner_monai.segmenters.sam2_model import layout, untrained
from medreasoner_monai.segmenters.sam2_names import original_name
from medreasoner_monai.segmenters.sam2_video import Sam2VideoSegmenter
from medreasoner_monai.task.geometry import Frame
from tests.segmenters.sam2_cases import CASES, PROMPTS, picture
from tests.segmenters.sam2s import asked, model, saved, shape, state, videos

PROMPTED = [asked(kind, Frame(210, 150)) for kind in PROMPTS]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny variant is the cases' small model here, and the small one has a block more."""
    made = shape()
    monkeypatch.setitem(sam2_names.VARIANTS, "tiny", made)
    more = sam2_names.Shape(made.width, (1, 2, 4, 1), made.whole, side=made.side)
    monkeypatch.setitem(sam2_names.VARIANTS, "small", more)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "sam2.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def masks(segmenter: Any) -> list[np.ndarray]:
    found: list[np.ndarray] = segmenter.segment(segmenter.embed(picture()), PROMPTED)
    return found


def test_weights_from_a_file_give_the_masks_of_the_model_they_were_saved_from(weights: Path) -> None:
    found = build("sam2", weights=str(weights), sha256=file_digest(weights).upper())
    np.testing.assert_array_equal(masks(found), masks(videos()))
    assert isinstance(found, Sam2VideoSegmenter) and found.identity["release"] == "2.1"


def test_weights_from_before_2_1_are_known_by_what_they_lack(tmp_path: Path) -> None:
    case = CASES["before"]
    tensors = state(layout(model(case)), case)
    torch.save({"model": tensors}, tmp_path / "sam2.pt")
    assert not set(tensors) & set(sam2_names.ONLY_IN_2_1)
    found = build("sam2", weights=str(tmp_path / "sam2.pt"), image_size=case.side)
    assert isinstance(found, Sam2VideoSegmenter) and found.identity["release"] == "2.0"
    assert found.model.occlusion_spatial_embedding_parameter is None


@pytest.mark.parametrize("missing", sam2_names.ONLY_IN_2_1)
def test_weights_between_the_releases_are_refused(tmp_path: Path, missing: str) -> None:
    path = saved(tmp_path / "sam2.pt", **{missing: None})
    with pytest.raises(ConfigError, match=f"it lacks {missing}"):
        build("sam2", weights=str(path))


def test_a_folder_saved_by_transformers_gives_the_same_masks(folder: Path) -> None:
    digest = file_digest(folder / "model.safetensors")
    found = build("sam2", weights=str(folder), sha256=digest, image_size="128")
    np.testing.assert_array_equal(masks(found), masks(videos()))
    assert found.identity["sha256"] == digest
    with pytest.raises(ConfigError, match=f"model.safetensors has sha256 {digest}, expected 00: it is another file"):
        build("sam2", weights=str(folder), sha256="00")


def test_a_folders_own_image_size_counts_where_none_is_asked_for(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["prompt_encoder_config"]["image_size"] = 96
    (folder / "config.json").write_text(json.dumps(config))
    assert build("sam2", weights=str(folder)).name == "sam2 tiny 96"


def test_a_folder_without_a_memory_segments_and_does_not_carry(tmp_path: Path) -> None:
    model(memory=False).save_pretrained(tmp_path)
    found = build("sam2", weights=str(tmp_path))
    np.testing.assert_array_equal(masks(found), masks(videos()))
    assert not hasattr(found, "carry")


def test_a_file_without_a_memory_is_refused(tmp_path: Path) -> None:
    torch.save({"model": state(layout(model(memory=False)))}, tmp_path / "sam2.pt")
    with pytest.raises(ConfigError, match="it lacks .*mem"):
        build("sam2", weights=str(tmp_path / "sam2.pt"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=f"has no {name}, which a folder saved by transformers has"):
        build("sam2", weights=str(folder))


@pytest.mark.parametrize(
    ("content", "fault"),
    [("{", "is not JSON"), ('{"model_type": "sam"}', "of a model of type 'sam'; 'sam2'"), ("[]", "of type None")],
)
def test_a_folder_of_another_kind_is_refused(folder: Path, content: str, fault: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=fault):
        build("sam2", weights=str(folder))


def test_a_truncated_folder_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ConfigError, match="model.safetensors cannot be read as safetensors"):
        build("sam2", weights=str(folder))


def test_a_changed_byte_is_found_before_anything_is_read(weights: Path) -> None:
    digest = file_digest(weights)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ConfigError, match=f"has sha256 [0-9a-f]{{64}}, expected {digest}: it is another file, or dam"):
        build("sam2", weights=str(weights), sha256=digest)


def test_the_digest_is_of_weights_and_size_not_of_their_place(weights: Path, tmp_path: Path) -> None:
    digest = build("sam2", weights=str(weights)).digest
    moved = weights.rename(tmp_path / "elsewhere.pt")
    assert build("sam2", weights=str(moved)).digest == digest
    larger = build("sam2", weights=str(moved), image_size="160")
    other = saved(tmp_path / "other.pt", no_mem_embed=torch.zeros(1, 1, 256))
    assert len({digest, larger.digest, build("sam2", weights=str(other)).digest}) == 3
    assert larger.name == "sam2 tiny 160"


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    changes = {"no_mem_embed": None, "sam_prompt_encoder__point_embeddings__2__weight": None}
    path = saved(tmp_path / "sam2.pt", **changes)
    with pytest.raises(ConfigError, match=r"variant tiny: it lacks no_mem_embed, sam_\S+point_embeddings.2.weight\."):
        build("sam2", weights=str(path))


def test_a_weight_too_many_and_one_of_another_shape_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "sam2.pt", extra__layer=torch.zeros(1), maskmem_tpos_enc=torch.zeros(6, 1, 1, 64))
    with pytest.raises(ConfigError, match="not have extra.layer; of another shape is maskmem_tpos_enc"):
        build("sam2", weights=str(path))


def test_another_variants_weights_are_refused_with_a_hint(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"variant small: it lacks image_encoder\.\S+, .* They look like tiny's\."):
        build("sam2", weights=str(weights), variant="small")


def test_an_encoder_of_no_known_variant_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "sam2.pt", image_encoder__trunk__patch_embed__proj__weight=torch.zeros(25, 3, 7, 7))
    with pytest.raises(ConfigError, match="The image encoder is of no variant that is known"):
        build("sam2", weights=str(path))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}}, tmp_path / "sam.pt")
    with pytest.raises(ConfigError, match="it lacks .*it should not have image_encoder.pos_embed. They are not SAM 2"):
        build("sam2", weights=str(tmp_path / "sam.pt"))


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"model": [1]}, {"model": {"epoch": 3}}])
def test_a_file_that_holds_no_model_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="does not hold tensors by name under the key 'model'"):
        build("sam2", weights=str(tmp_path / "other.pt"))


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sam2.pt").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as weights and nothing else"):
        build("sam2", weights=str(tmp_path / "sam2.pt"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(weights: Path, share: float) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ConfigError, match="cannot be read as weights and nothing else"):
        build("sam2", weights=str(weights))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    with (tmp_path / "evil.pt").open("wb") as file:
        pickle.dump({"model": {"no_mem_embed": Evil()}}, file, protocol=2)
    torch.save({"model": {"no_mem_embed": Evil()}}, tmp_path / "zipped.pt")
    for name in ("evil.pt", "zipped.pt"):
        with pytest.raises(ConfigError, match="cannot be read as weights and nothing else"):
            build("sam2", weights=str(tmp_path / name))
    assert not (tmp_path / "ran").exists()


def test_untrained_weights_are_the_seeds_and_none_is_zero() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (build("sam2", random=True, seed=seed) for seed in (1, 1, 2))
    torch.testing.assert_close(torch.rand(3), expected)
    np.testing.assert_array_equal(masks(one), masks(same))
    assert one.digest == same.digest != other.digest
    assert all(weight.any() for name, weight in untrained(model(), 1).state_dict().items() if "bias" not in name)


def test_weights_or_untrained_ones_must_be_asked_for(weights: Path) -> None:
    for options in ({}, {"weights": str(weights), "random": True}):
        with pytest.raises(ConfigError, match="the segmenter 'sam2' needs weights: give `weights`, the path of a .pt"):
            build("sam2", **options)
    assert "sam2" in NEED_WEIGHTS


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no \S+sam2.pt; `weights` is the path of a .pt file or of a fol"):
        build("sam2", weights=str(tmp_path / "sam2.pt"))


def test_a_wrong_variant_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no variant 'medsam'; .* Did you mean 'medsam2'"):
        build("sam2", random=True, variant="medsam")


@pytest.mark.parametrize("side", [0, 33, "500"])
def test_a_size_that_the_encoder_cannot_halve_is_refused(side: object) -> None:
    with pytest.raises(ConfigError, match=f"a multiple of 32 pixels; `image_size` is {side}"):
        build("sam2", random=True, image_size=side)


@pytest.mark.parametrize("option", ["image_size", "patience", "least_score"])
def test_text_that_is_no_number_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"a number for `{option}`, got 'many'"):
        build("sam2", random=True, **{option: "many"})


def test_medsam2_sees_pictures_of_512_pixels_and_the_others_of_1024() -> None:
    sides = {name: found.side for name, found in sam2_names.VARIANTS.items() if name not in ("tiny", "small")}
    assert sides == {"base-plus": 1024, "large": 1024, "medsam2": 512}


def test_every_tensor_has_a_name_of_its_own_in_the_original() -> None:
    names = [name for name in model().state_dict() if not name.startswith("shared_image_embedding")]
    assert len({original_name(name) for name in names}) == len(names)
