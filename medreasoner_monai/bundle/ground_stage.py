"""The ground stage: the packaged bundle tried on a series."""

from __future__ import annotations

import json
import shutil

from medreasoner_monai.bundle.packaging import NAME
from medreasoner_monai.bundle.process import run_bundle
from medreasoner_monai.files import tree_digest
from medreasoner_monai.grounding.outputs import ANSWER, NAMES
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft

STAGE = Stage(
    "ground",
    "grounding",
    version=3,
    code=("bundle.components", "bundle.workflows"),
    libraries=("torch", "transformers", "monai", "pydicom", "highdicom", "opencv-python-headless"),
    numeric=True,
)


def ground(context: Context, bundle: Artifact) -> Artifact:
    """An artifact with the files of an answer, made by ``python -m monai.bundle run``.

    Its facts say whether a region was found, and if not, why; then it holds no ``seg.dcm``.
    """
    chosen = context.settings.ground
    settings = chosen.deciding() | {"dicom": tree_digest(chosen.dicom) if chosen.dicom else None}

    def make(draft: Draft, watch: ProgressReporter) -> None:
        out = draft.scratch / "out"
        log = draft.scratch / "bundle.log"
        run_bundle(bundle.path / NAME, out, log, chosen.dicom, chosen.question, chosen.series)
        for name in NAMES:
            if (out / name).is_file():
                shutil.copy2(out / name, draft.path / name)
        finding = json.loads((out / ANSWER).read_text(encoding="utf-8"))["findings"][0]
        found = finding["status"] == "found"
        draft.facts.update(found=found, **({} if found else {"reason": f"{finding['status']}: {finding['reason']}"}))
        if not found:
            # An answer too: the run goes on and says so.
            watch.note(f"{finding['status']}: {finding['reason']}")
        watch.step(1, 1)

    return context.stage(STAGE, make, inputs={"bundle": bundle}, settings=settings)
