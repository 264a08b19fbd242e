"""The SAM 2 engine gives what the original's own predictors give, for models with weights from a formula.

The original's package cannot share our environment's pins with certainty, so its outputs are on file (``saved``, and
``probe_sam2.py`` says how they were made). Where ``MEDREASONER_SAM2_PYTHON`` names an interpreter that has it, they
are made afresh, at every pixel, and for MedSAM2's own architecture, too.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from medreasoner_monai.segmenters import sam2_memory
from medreasoner_monai.segmenters.sam2_layers import as_mask, enlarge
from medreasoner_monai.segmenters.sam2_memory import Memory, first
from medreasoner_monai.segmenters.sam2_model import Release, build, layout
from medreasoner_monai.segmenters.sam2_names import VARIANTS
from medreasoner_monai.task.geometry import Frame
from tests.integration.conftest import ROOT
from tests.segmenters.sam2_cases import CASES, PROMPTS, Arrays, frame, layout_digest, picture, thinned
from tests.segmenters.sam2s import asked, images, model, videos

HERE = Path(__file__).parent
PYTHON = os.environ.get("MEDREASONER_SAM2_PYTHON")
NAMES = ("small", "before", "hidden")
LIVE = pytest.mark.skipif(not PYTHON, reason="name an interpreter that has sam2 by MEDREASONER_SAM2_PYTHON")


def probe(*arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(PYTHON), str(HERE / "probe_sam2.py"), *arguments]
    done = subprocess.run(command, env=environment, cwd=HERE, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def on_file() -> Arrays:
    with np.load(HERE / "saved" / "sam2.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def afresh(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    out = tmp_path_factory.mktemp("sam2") / "sam2.npz"
    probe(str(out), "1", *CASES)
    with np.load(out) as file:
        return dict(file)


@pytest.fixture
def original(request: pytest.FixtureRequest) -> Arrays:
    """By case and what it was asked, the original's outputs, on file or afresh."""
    found: Arrays = request.getfixturevalue(request.param)
    return found


ORIGINAL = [
    *(pytest.param("on_file", name, id=f"{name} on file") for name in NAMES),
    *(pytest.param("afresh", name, id=f"{name} afresh", marks=LIVE) for name in CASES),
]


def shapes(original: Arrays, name: str) -> dict[str, tuple[int, ...]]:
    """The original model's tensors."""
    return {key: tuple(shape) for key, shape in json.loads(str(original[f"{name}/layout"])).items()}


@pytest.mark.parametrize(("original", "name"), ORIGINAL, indirect=["original"])
def test_an_image_gets_the_original_predictors_logits_and_expected_overlap(original: Arrays, name: str) -> None:
    sam2, step = videos(CASES[name], found=shapes(original, name)), int(original["step"])
    embedding = sam2.embed(picture())
    prompts = [asked(kind, Frame(210, 150)) for kind in PROMPTS]

    low = {}
    for members, decoded in sam2.decoded(embedding, prompts):
        low |= dict(zip(members, decoded.logits, strict=True))
    full = {i: (logits, quality) for i, logits, quality in sam2.logits(embedding, prompts)}
    masks = sam2.segment(embedding, prompts)

    for i, kind in enumerate(PROMPTS):
        expected = {part: original[f"{name}/image/{kind}/{part}"] for part in ("logits", "low", "quality")}
        # The original cuts these off for its own later use.
        coarse = np.clip(low[i][0].numpy(), -32, 32)
        np.testing.assert_allclose(thinned(coarse, step), expected["low"], atol=3e-5)
        np.testing.assert_allclose(thinned(full[i][0], step), expected["logits"], atol=3e-5)
        np.testing.assert_allclose(full[i][1], expected["quality"], atol=1e-6)
        sure = np.abs(expected["logits"]) > 1e-4
        assert sure.mean() > 0.99 and 0.1 < (expected["logits"] > 0).mean() < 0.95
        np.testing.assert_array_equal(thinned(masks[i], step)[sure], expected["logits"][sure] > 0)


# Memories are rounded to bfloat16: where two sums lie on both sides of a rounding limit, a small difference grows. With
# the rounding left out on both sides what remains is that of single precision.
@pytest.mark.parametrize(("kind", "most"), [("exact", 3e-5), ("rounded", 1e-3)])
@pytest.mark.parametrize(("original", "name"), ORIGINAL, indirect=["original"])
def test_a_series_gets_the_original_video_predictors_logits(
    original: Arrays, name: str, kind: str, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, step = CASES[name], int(original["step"])
    sam2 = videos(case, found=shapes(original, name))
    monkeypatch.setattr(sam2_memory, "_KEPT", torch.float32 if kind == "exact" else torch.bfloat16)
    scores = []
    for count, key in case.videos:
        image, disk = frame(key)
        with torch.inference_mode():
            start = first(sam2.model, sam2.seen(image), as_mask(disk, case.side))
            for ahead in (range(key - 1, -1, -1), range(key + 1, count)):
                memory = Memory(sam2.model, count, start)
                for index in ahead:
                    image, _ = frame(index)
                    found = memory.follow(sam2.seen(image))
                    logits = enlarge(found.logits, image.shape[:2])[0, 0].numpy()
                    at = f"{name}/{kind}/{count}/{index}"
                    np.testing.assert_allclose(thinned(logits, step), original[f"{at}/logits"], atol=most, err_msg=at)
                    np.testing.assert_allclose(found.quality, original[f"{at}/quality"], atol=most, err_msg=at)
                    np.testing.assert_allclose(found.score, original[f"{at}/score"], atol=most, err_msg=at)
                    scores.append(found.score)
    assert min(scores) > 0 or (name == "hidden" and min(scores) < 0 < max(scores))


def test_what_is_carried_is_where_the_original_has_logits_above_zero(on_file: Arrays) -> None:
    (count, key), step = CASES["small"].videos[0], int(on_file["step"])
    carried = videos(found=shapes(on_file, "small")).carry(
        lambda i: frame(i)[0], count, key, asked("box", Frame(130, 90)), frame(key)[1], lambda done: None
    )
    assert [s.index for s in carried.slices] == [i for i in range(count) if i != key]
    for found in carried.slices:
        at = f"small/rounded/{count}/{found.index}"
        sure = np.abs(on_file[f"{at}/logits"]) > 1e-2
        assert sure.mean() > 0.95
        np.testing.assert_array_equal(thinned(found.mask, step)[sure], on_file[f"{at}/logits"][sure] > 0)
        assert found.confidence == pytest.approx(float(on_file[f"{at}/quality"][0]), abs=1e-3)


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=LIVE)])
def test_the_released_variants_have_the_originals_tensors_windows_and_heads(fresh: bool, tmp_path: Path) -> None:
    path = HERE / "saved" / "sam2_variants.json"
    if fresh:
        path = tmp_path / "variants.json"
        probe("variants", str(path))
    original = json.loads(path.read_text())
    releases: tuple[Release, ...] = ("2.0", "2.1")
    for name, shape in VARIANTS.items():
        for release in releases:
            with torch.device("meta"):
                made = build(shape, shape.side, release)
            found = original[f"{'tiny' if name == 'medsam2' else name} {release}"]
            blocks = made.vision_encoder.backbone.blocks
            assert layout_digest(layout(made)) == found["layout"]
            assert [block.window_size for block in blocks] == found["windows"]
            assert [block.attn.num_attention_heads for block in blocks] == found["heads"]


def test_images_need_no_memory(on_file: Arrays) -> None:
    frame_ = Frame(210, 150)
    for one, other in zip(
        *(s.segment(s.embed(picture()), [asked(k, frame_) for k in PROMPTS]) for s in (images(), videos())), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert not hasattr(model(memory=False), "memory_attention")
