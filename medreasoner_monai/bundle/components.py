"""What the bundle's inference.json instantiates: the steps of a grounding as parts of a MONAI evaluator.

One item of the data set is one slice; a batch of slices goes through the network (reasoner and segmenter), and a
handler carries and writes the answer when all slices have been through.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.inferers.inferer import Inferer
from monai.transforms.transform import Transform
from monai.utils.enums import CommonKeys

from medreasoner_monai.bundle.contents import Bundle, ask_settings, build_segmenter
from medreasoner_monai.dicom.display import render_slice
from medreasoner_monai.dicom.seg import parse_kind
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.aggregate import settle
from medreasoner_monai.grounding.asking import Asker, AskSettings, slices_to_ask
from medreasoner_monai.grounding.outputs import Outputs, check_folder, write_outputs
from medreasoner_monai.grounding.result import GroundedSeries
from medreasoner_monai.grounding.session import Grounder, checked, origin_of
from medreasoner_monai.reasoners.protocol import Image, Reasoner
from medreasoner_monai.segmenters.protocol import Segmenter
from medreasoner_monai.task.findings import SliceResult

logger = logging.getLogger(__name__)

Answers = list[tuple[str, SliceResult]]


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
    return [q.text for q in checked([str(one) for one in given])]


def how_to_ask(**entries: object) -> AskSettings:
    """See :func:`~medreasoner_monai.bundle.contents.ask_settings`."""
    return ask_settings(entries)


def load_reasoner(bundle_root: str, device: torch.device) -> Reasoner:
    """The reasoner under ``models/reasoner``, after its files matched the digests noted at packaging."""
    return Bundle.open(bundle_root).reasoner(str(device))


def open_grounder(bundle_root: str, device: str | None = None, segmenter: str | None = None) -> Grounder:
    """See :meth:`~medreasoner_monai.bundle.contents.Bundle.grounder`."""
    return Bundle.open(bundle_root).grounder(device, segmenter)


def load_segmenter(name: str, bundle_root: str = ".") -> Segmenter[Any]:
    """The segmenter of that name, with its options behind a colon; relative weights are the bundle's."""
    return build_segmenter(name, Path(bundle_root))


def slice_items(series: Series, asking: AskSettings) -> list[dict[str, Any]]:
    """The data set's items: one a slice to ask, with its number."""
    return [{"index": index} for index in slices_to_ask(series, asking.slices)]


class RenderSlice(Transform):
    """Adds the slice's picture to an item, as MONAI has pictures: float32 ``(3, rows, columns)``, values 0 to 255."""

    def __init__(self, series: Series) -> None:
        self.series = series

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The item with its picture."""
        picture = render_slice(*self.series.load(data["index"]))
        colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        return {**data, CommonKeys.IMAGE: np.ascontiguousarray(colour.transpose(2, 0, 1), dtype=np.float32)}


class GroundingNetwork(torch.nn.Module):
    """Reasoner and segmenter as one torch module, pictures in and masks out; its weights are the reasoner's."""

    def __init__(
        self, reasoner: Reasoner, segmenter: Segmenter[Any], questions: Sequence[str], asking: AskSettings | None = None
    ) -> None:
        super().__init__()
        model = getattr(reasoner, "model", None)
        if isinstance(model, torch.nn.Module):
            self.model = model
        self.questions = list(questions)
        self.asker = Asker(reasoner, segmenter, asking or AskSettings())

    def forward(self, image: torch.Tensor, question: str | None = None) -> torch.Tensor:
        """The region that answers a question, by default the first of this network's.

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
        for _, result in self.asker.ask(_pictures(image), range(batch), [question or self.questions[0]]):
            if result.mask is not None:
                masks[result.index, 0] = torch.from_numpy(result.mask).to(image.device)
        return masks

    def answer(self, image: torch.Tensor, indices: Sequence[int]) -> Answers:
        """All questions of a batch of slices, with traces, boxes and points; ``image`` as for :meth:`forward`."""
        return self.asker.ask(_pictures(image), indices, self.questions)


class GroundingInferer(Inferer):
    """Has the network answer in full where MONAI would take its masks alone."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Answers:
        """``inputs`` as :meth:`GroundingNetwork.forward` takes it; the slices' numbers as the keyword ``index``."""
        return network.answer(inputs, kwargs["index"])


def prepare_batch(batch: dict[str, Any], device: Any, non_blocking: bool, **_: Any) -> tuple[Any, None, tuple[()], Any]:
    """Hand a batch to the inferer. Pictures stay in main memory: the reasoner's processor moves them itself."""
    return batch[CommonKeys.IMAGE], None, (), {"index": [int(i) for i in batch["index"]]}


class WriteOutputs:
    """Handler that gathers the answers of all batches, carries masks on and writes everything at the end of the run."""

    def __init__(
        self,
        series: Series,
        network: GroundingNetwork,
        bundle_root: str,
        output_dir: str,
        asking: AskSettings,
        seg_kind: str = "binary",
    ) -> None:
        self.series, self.network, self.asking = series, network, asking
        self.bundle_root, self.output_dir, self.seg_kind = bundle_root, Path(output_dir), parse_kind(seg_kind)
        self.answers: Answers = []
        self.outputs: Outputs | None = None
        self.result: GroundedSeries | None = None
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
        asker, lineage = self.network.asker, Bundle.open(self.bundle_root).lineage
        asked = slices_to_ask(self.series, self.asking.slices)
        carry = self.asking.wants_carrying(self.series, asked)
        findings = tuple(
            settle(
                self.series,
                question,
                [result for text, result in self.answers if text == question.text],
                asker.segmenter,
                carry=carry,
            )
            for question in checked(self.network.questions)
        )
        origin = origin_of(asker.reasoner, asker.segmenter, lineage)
        self.result = GroundedSeries(self.series, findings, origin, tuple(asked), lineage)
        self.outputs = write_outputs(self.result, self.output_dir, seg=self.seg_kind)
        tell(self.result, self.outputs)


def tell(result: GroundedSeries, outputs: Outputs) -> None:
    """Log what was written, and of findings without a region why; no text of the question or the answer."""
    for number, finding in enumerate(result.findings, 1):
        if finding.status != "found":
            logger.warning("finding %d: %s (%s)", number, finding.status, finding.reason)
    for path in outputs.paths:
        logger.info("wrote %s", path)


def _pictures(image: torch.Tensor) -> list[Image]:
    """Back from MONAI's pictures to uint8 ``(rows, columns, 3)``, each."""
    values = image.detach().clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return list(values.cpu().numpy())
