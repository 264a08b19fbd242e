"""What the bundle's inference.json instantiates: the steps of a grounding as parts of a MONAI evaluator.

One item of the data set is one slice; a batch of slices goes through the network (the reasoner) and the inferer (which
adds the segmenter), and a handler writes the answer when all slices have been through.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.inferers.inferer import Inferer
from monai.transforms.transform import Transform
from monai.utils.enums import CommonKeys

from medreasoner_monai.bundle.contents import Bundle, build_segmenter
from medreasoner_monai.bundle.ground import assemble, mark_slices, parse_slices, slices_to_ask
from medreasoner_monai.bundle.outputs import Outputs, check_folder, write_outputs
from medreasoner_monai.bundle.result import SliceResult
from medreasoner_monai.dicom.display import render_slice
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import InputError, MedReasonerError
from medreasoner_monai.prompts import check_question
from medreasoner_monai.reasoners.protocol import Reading, Reasoner
from medreasoner_monai.segmenters.protocol import Segmenter

logger = logging.getLogger(__name__)


def default_input() -> str:
    """The CT slice that pydicom carries, so that a fresh bundle runs without any data."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm", download=False)
    if path is None:
        raise InputError("pydicom's example CT is not installed; give a folder with --dicom_dir")
    return str(path)


def load_reasoner(bundle_root: str, device: torch.device) -> Reasoner:
    """The reasoner under ``models/reasoner``, after its files matched the digests noted at packaging."""
    return Bundle.open(bundle_root).reasoner(str(device))


def load_segmenter(name: str) -> Segmenter[Any]:
    """The segmenter of that name, with its options behind a colon."""
    return build_segmenter(name)


def slice_items(series: Series, question: object, slices: str | int) -> list[dict[str, Any]]:
    """The data set's items: one a slice to ask, with its number and the question.

    The question comes from a command line that turns digits into numbers, hence ``object``.
    """
    text = check_question(str(question))
    return [{"index": index, "question": text} for index in slices_to_ask(series, parse_slices(slices))]


class RenderSlice(Transform):
    """Adds the slice's picture to an item: uint8 ``(rows, columns)``, or ``(rows, columns, 3)`` in colour."""

    def __init__(self, series: Series) -> None:
        self.series = series

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """The item with its picture."""
        return {**data, CommonKeys.IMAGE: render_slice(*self.series.load(data["index"]))}


class GroundingNetwork(torch.nn.Module):
    """A reasoner as a torch module; its weights are this module's weights."""

    def __init__(self, reasoner: Reasoner) -> None:
        super().__init__()
        model = getattr(reasoner, "model", None)
        if isinstance(model, torch.nn.Module):
            self.model = model
        self.reasoner = reasoner

    def forward(self, image: torch.Tensor, question: Sequence[str]) -> list[Reading]:
        """Readings of a batch.

        Parameters
        ----------
        image:
            uint8, ``(batch, rows, columns)`` or ``(batch, rows, columns, 3)``.
        question:
            One an image.
        """
        return self.reasoner.ground(_pictures(image), list(question))


class GroundingInferer(Inferer):
    """Runs the network on a batch of slices, and the segmenter on what it answers."""

    def __init__(self, segmenter: Segmenter[Any]) -> None:
        self.segmenter = segmenter

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> list[SliceResult]:
        """``inputs`` as :meth:`GroundingNetwork.forward` takes it; ``index`` and ``question`` as keywords."""
        readings = network(inputs, kwargs["question"])
        return mark_slices(_pictures(inputs), kwargs["index"], readings, self.segmenter)


def prepare_batch(batch: dict[str, Any], device: Any, non_blocking: bool, **_: Any) -> tuple[Any, None, tuple[()], Any]:
    """Hand a batch to the inferer. Pictures stay in main memory: the reasoner's processor moves them itself."""
    return batch[CommonKeys.IMAGE], None, (), {"index": [int(i) for i in batch["index"]], "question": batch["question"]}


class WriteOutputs:
    """Handler that gathers the answers of all batches and writes them at the end of the run."""

    def __init__(
        self, series: Series, reasoner: Reasoner, segmenter: Segmenter[Any], bundle_root: str, output_dir: str
    ) -> None:
        self.series, self.reasoner, self.segmenter = series, reasoner, segmenter
        self.bundle_root, self.output_dir = bundle_root, Path(output_dir)
        self.results: list[SliceResult] = []
        self.question = ""
        self.outputs: Outputs | None = None
        check_folder(self.output_dir)

    def attach(self, engine: Engine) -> None:
        """Register on an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._gather)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.results = []

    def _gather(self, engine: Engine) -> None:
        self.results += engine.state.output[CommonKeys.PRED]  # type: ignore[index]
        self.question = engine.state.batch["question"][0]  # type: ignore[index]

    def _write(self, engine: Engine) -> None:
        result = assemble(self.series, self.question, self.results, self.reasoner, self.segmenter)
        self.outputs = write_outputs(result, self.output_dir, Bundle.open(self.bundle_root).lineage)
        for path in (self.outputs.seg, self.outputs.overlay, self.outputs.answer):
            logger.info("wrote %s", path)


def plain_errors() -> None:
    """In ``python -m monai.bundle``: end with our own error's message and exit code, not with a long traceback."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name.startswith("monai.bundle"):
        sys.excepthook = explain


def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An excepthook: our error's message, wherever in the chain it stands; anything else as Python shows it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MedReasonerError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        traceback.print_exception(kind, error, trace)
        return
    print(f"error: {cause}", file=sys.stderr)  # noqa: T201 - what the person who ran the bundle reads
    raise SystemExit(cause.exit_code)


def _pictures(image: torch.Tensor) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    return list(np.asarray(image.cpu(), dtype=np.uint8))
