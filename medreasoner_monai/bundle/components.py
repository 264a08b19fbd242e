"""What the bundle's inference.json instantiates: a grounding's steps as parts of a MONAI evaluator.

One item of the data set is one slice of the plan; a batch of slices goes through the network, and a handler aggregates
and writes when all slices have been through. Planning, answering, aggregating and writing are ``grounding``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.inferers.inferer import Inferer
from monai.transforms.transform import Transform
from monai.utils.enums import CommonKeys

from medreasoner_monai.bundle.contents import Bundle, build_segmenter, read_settings
from medreasoner_monai.dicom.seg import parse_kind
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.grounder import Answers, Grounder
from medreasoner_monai.grounding.outputs import Outputs, check_folder, log_summary, write_outputs
from medreasoner_monai.grounding.plan import Plan, check_kind
from medreasoner_monai.grounding.request import GroundingSettings, check_questions
from medreasoner_monai.grounding.result import GroundingResult
from medreasoner_monai.grounding.worker import WorkItem
from medreasoner_monai.reasoners.protocol import Image, Reasoner
from medreasoner_monai.segmenters.protocol import Segmenter


def default_input() -> str:
    """The CT slice that pydicom carries, so that a fresh bundle runs without any data."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm", download=False)
    if path is None:
        raise InputError("pydicom's example CT is not installed; give a folder with --dicom_dir")
    return str(path)


def questions_of(question: object) -> list[str]:
    """The ``question`` of a config: one, or a list; a command line turns digits into numbers, hence ``object``.

    Raises
    ------
    InputError
        If there is none, or one is empty or too long.
    """
    given = question if isinstance(question, list | tuple) else [question]
    return [q.text for q in check_questions([str(one) for one in given])]


def grounding_settings(**entries: object) -> GroundingSettings:
    """See :func:`~medreasoner_monai.bundle.contents.read_settings`."""
    return read_settings(entries)


def load_reasoner(bundle_root: str, device: torch.device) -> Reasoner:
    """The reasoner under ``models/reasoner``, after its files matched the digests noted at packaging."""
    return Bundle.open(bundle_root).reasoner(str(device))


def load_segmenter(name: str, bundle_root: str = ".") -> Segmenter[Any]:
    """The segmenter of that name, with its options behind a colon; relative weights are the bundle's."""
    return build_segmenter(name, Path(bundle_root))


def make_grounder(reasoner: Reasoner, segmenter: Segmenter[Any], bundle_root: str) -> Grounder:
    """The two as a grounder, with the bundle's lineage."""
    return Grounder(reasoner, segmenter, Bundle.open(bundle_root).lineage)


def open_grounder(bundle_root: str, device: str | None = None, segmenter: str | None = None) -> Grounder:
    """See :meth:`~medreasoner_monai.bundle.contents.Bundle.grounder`."""
    return Bundle.open(bundle_root).grounder(device, segmenter)


def slice_items(plan: Plan) -> list[dict[str, Any]]:
    """The data set's items: one per slice to ask, with its number."""
    return [{"index": index} for index in plan.slices]


class RenderSlice(Transform):
    """Adds the slice's picture to an item, as MONAI has pictures: float32 ``(3, rows, columns)``, values 0 to 255."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The item with its picture."""
        picture = self.plan.series.view(data["index"], self.plan.settings.rendering).pixels
        colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        return {**data, CommonKeys.IMAGE: np.ascontiguousarray(colour.transpose(2, 0, 1), dtype=np.float32)}


class GroundingNetwork(torch.nn.Module):
    """Reasoner and segmenter as one torch module, pictures in and masks out; its weights are the reasoner's."""

    def __init__(self, grounder: Grounder, plan: Plan) -> None:
        super().__init__()
        self.grounder, self.plan = grounder, plan
        model = getattr(grounder.worker.reasoner, "model", None)
        if isinstance(model, torch.nn.Module):
            self.model = model

    def forward(self, image: torch.Tensor, question: str | None = None) -> torch.Tensor:
        """The region that answers a question, by default the plan's first.

        Parameters
        ----------
        image:
            Float, ``(batch, 3, rows, columns)``, values 0 to 255.

        Returns
        -------
        Boolean, ``(batch, 1, rows, columns)``; all False where there is no region.
        """
        batch, _, rows, columns = image.shape
        masks = torch.zeros((batch, 1, rows, columns), dtype=torch.bool, device=image.device)
        text = question or self.plan.questions[0].text
        items = [WorkItem(picture, i, text) for i, picture in enumerate(_pictures(image))]
        for result in self.grounder.worker.answer(items, self.plan.settings):
            if result.mask is not None:
                masks[result.index, 0] = torch.from_numpy(result.mask).to(image.device)
        return masks

    def answer(self, image: torch.Tensor, indices: Sequence[int]) -> Answers:
        """All questions of a batch of slices, with traces, boxes and points; ``image`` as for :meth:`forward`."""
        return self.grounder.answer(self.plan, indices, _pictures(image))


class GroundingInferer(Inferer):
    """Has the network answer in full where MONAI would take its masks alone."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Answers:
        """``inputs`` as :meth:`GroundingNetwork.forward` takes it; the slices' numbers as the keyword ``index``."""
        return network.answer(inputs, kwargs["index"])


def prepare_batch(batch: dict[str, Any], device: Any, non_blocking: bool, **_: Any) -> tuple[Any, None, tuple[()], Any]:
    """Hand a batch to the inferer. Pictures stay in main memory: the reasoner's processor moves them itself."""
    return batch[CommonKeys.IMAGE], None, (), {"index": [int(i) for i in batch["index"]]}


class WriteOutputs:
    """Handler that gathers the answers of all batches, aggregates them and writes the outputs at the end of the run."""

    def __init__(self, grounder: Grounder, plan: Plan, output_dir: str, seg_kind: str = "binary") -> None:
        self.grounder, self.plan = grounder, plan
        self.output_dir, self.seg_kind = Path(output_dir), parse_kind(seg_kind)
        check_kind(plan, self.seg_kind)
        self.answers: list[Any] = []
        self.outputs: Outputs | None = None
        self.result: GroundingResult | None = None
        check_folder(self.output_dir)

    def attach(self, engine: Engine) -> None:
        """Register on an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._gather)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.answers = []

    def _gather(self, engine: Engine) -> None:
        self.answers += engine.state.output[CommonKeys.PRED]  # type: ignore[index]

    def _write(self, engine: Engine) -> None:
        self.result = self.grounder.aggregate(self.plan, self.answers)
        self.outputs = write_outputs(self.result, self.output_dir, seg=self.seg_kind)
        log_summary(self.result, self.outputs)


def _pictures(image: torch.Tensor) -> list[Image]:
    """Back from MONAI's pictures to uint8 ``(rows, columns, 3)``, each."""
    values = image.detach().clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return list(values.cpu().numpy())
