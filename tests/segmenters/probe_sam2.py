"""Run by an interpreter that has the original's package ``sam2``: what its predictors make of the cases.

Arguments: where to write the outputs (``.npz``), every how manieth row and column of them to keep, and the names of
the cases; or ``variants``, and where to write what the released variants are made of (``.json``). The two files in
``saved``, with which the tests compare where there is no such interpreter, were written with version 1.1.0 of the
package on a CPU, from the repository's folder and with it on the PYTHONPATH, by

    SAM2_PYTHON tests/segmenters/probe_sam2.py tests/segmenters/saved/sam2.npz 8 small before hidden
    SAM2_PYTHON tests/segmenters/probe_sam2.py variants tests/segmenters/saved/sam2_variants.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sam2.sam2_video_predictor
import torch
from PIL import Image
from sam2.build_sam import build_sam2, build_sam2_video_predictor
from sam2.sam2_image_predictor import SAM2ImagePredictor

from tests.segmenters.sam2_cases import CASES, PROMPTS, Arrays, Case, frame, layout_digest, picture, thinned, weights

VARIANTS = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}


def configured(build: Any, case: Case) -> Any:
    """The original's model with its own configuration, but for the encoder's size, and the case's weights."""
    changed = {
        "image_encoder.trunk.embed_dim": case.width,
        "image_encoder.trunk.stages": list(case.blocks),
        "image_encoder.trunk.global_att_blocks": list(case.whole),
        "image_encoder.neck.backbone_channel_list": [case.width * 2**stage for stage in (3, 2, 1, 0)],
        "image_size": case.side,
    }
    folder = "sam2.1/sam2.1" if case.release == "2.1" else "sam2/sam2"
    overrides = [f"++model.{name}={value}" for name, value in changed.items()]
    model = build(f"configs/{folder}_hiera_t.yaml", device="cpu", hydra_overrides_extra=overrides)
    layout = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights(layout, case).items()})
    return model


def images(case: Case) -> Arrays:
    """By prompt: logits at the picture's size and at the decoder's, and the expected overlap."""
    predictor = SAM2ImagePredictor(configured(build_sam2, case))
    # The package has these for 1024 pixels alone.
    predictor._bb_feat_sizes = [(case.side // stride, case.side // stride) for stride in (4, 8, 16)]
    predictor.set_image(picture())
    found: Arrays = {}
    for name, (box, points) in PROMPTS.items():
        told: dict[str, Any] = {} if box is None else {"box": np.array(box)}
        if points:
            told |= {"point_coords": np.array(points), "point_labels": np.ones(len(points))}
        logits, quality, low = predictor.predict(**told, multimask_output=False, return_logits=True)
        found |= {f"{name}/logits": logits[0], f"{name}/low": low[0], f"{name}/quality": quality}
    return found


def video(model: Any, count: int, key: int) -> Arrays:
    """By frame: logits at the picture's size, the score of the object's presence, and the expected overlap."""
    heads: list[Any] = []
    hook = model.sam_mask_decoder.register_forward_hook(lambda _, __, out: heads.append(out))
    found: Arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            # The package reads names that end in jpg; what is in them may be of any format.
            Image.fromarray(frame(index)[0]).save(Path(folder) / f"{index}.jpg", format="PNG")
        state = model.init_state(folder)
        for reverse in (False, True):
            model.reset_state(state)
            model.add_new_mask(state, frame_idx=key, obj_id=1, mask=frame(key)[1])
            for index, _, logits in model.propagate_in_video(state, start_frame_idx=key, reverse=reverse):
                if index == key:
                    continue
                _, quality, _, score = heads[-1]
                found[f"{index}/logits"] = logits[0, 0].numpy()
                found[f"{index}/quality"] = quality.max().reshape(1).numpy()
                found[f"{index}/score"] = score.reshape(1).numpy()
    hook.remove()
    return found


class Unrounded:
    """torch, but for the type in which the predictor keeps its memories."""

    bfloat16 = torch.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def main(out: Path, step: int, names: list[str]) -> None:
    torch.set_num_threads(1)
    found: Arrays = {"step": np.array(step)}
    for name in names:
        case = CASES[name]
        found |= {f"{name}/image/{key}": value for key, value in images(case).items()}
        model = configured(build_sam2_video_predictor, case)
        layout = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
        found[f"{name}/layout"] = np.array(json.dumps(layout))
        for kind, rounding in (("rounded", torch), ("exact", Unrounded())):
            sam2.sam2_video_predictor.torch = rounding
            for count, key in case.videos:
                found |= {f"{name}/{kind}/{count}/{part}": value for part, value in video(model, count, key).items()}
    kept = {key: thinned(value, step) for key, value in found.items()}
    np.savez_compressed(out, **kept)


def variants(out: Path) -> None:
    """Of each released variant: names and shapes of its tensors, windows and heads of its encoder's blocks."""
    found = {}
    for name, letter in VARIANTS.items():
        for release, folder in (("2.0", "sam2/sam2"), ("2.1", "sam2.1/sam2.1")):
            model = build_sam2(f"configs/{folder}_hiera_{letter}.yaml", device="cpu")
            blocks = model.image_encoder.trunk.blocks
            layout = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
            found[f"{name} {release}"] = {
                "layout": layout_digest(layout),
                "windows": [block.window_size for block in blocks],
                "heads": [block.attn.num_heads for block in blocks],
            }
    out.write_text(json.dumps(found, indent=1).replace(",\n   ", ","))


if __name__ == "__main__":
    if sys.argv[1] == "variants":
        variants(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
