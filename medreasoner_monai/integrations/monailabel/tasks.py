"""The two tasks of the app: answer a question with a label, and have the model trained again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.train import TrainTask

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.opened import Opened
from medreasoner_monai.errors import InputError, MedReasonerError
from medreasoner_monai.integrations.monailabel.answers import LABEL, describe
from medreasoner_monai.integrations.monailabel.grid import grid_of
from medreasoner_monai.integrations.monailabel.images import dicom_path
from medreasoner_monai.integrations.monailabel.labels import write_label
from medreasoner_monai.pipeline.deployments import start_deployment

if TYPE_CHECKING:
    from medreasoner_monai.grounding.grounder import Grounder

Request = Mapping[str, Any]


class GroundingTask(InferTask):  # type: ignore[misc]  # MONAI Label has no type information
    """Answers ``question`` about a DICOM series; keeps the loaded models between requests, and headers read lately.

    Parameters
    ----------
    grounder:
        Gives the opened bundle; it may take its time at the first call.
    slices, carry:
        Where a request does not say.
    """

    def __init__(self, grounder: Callable[[], Grounder], slices: str, carry: str) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=[LABEL],
            dimension=3,
            description=f"Answers a question about a DICOM series with a region and its reasoning. {RESEARCH_USE}",
            config={"question": "", "slices": slices, "carry": carry, "series": ""},
        )
        self._grounder = grounder
        self._opened = Opened()

    def is_valid(self) -> bool:
        """A bundle that cannot be opened has stopped the server already."""
        return True

    def __call__(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The label's file and what is said about it.

        Parameters
        ----------
        request:
            ``image`` and ``question``; ``series`` (a UID, or its end) where the image holds several; ``slices`` and
            ``carry`` as :meth:`~medreasoner_monai.grounding.grounder.Grounder.ground` takes them; ``result_extension``
            and ``result_compress`` as MONAI Label's clients send them.

        Raises
        ------
        HTTPException
            With status 400 and what to do, for a mistake in the request; with 500 for one of ours.
        """
        started = time.perf_counter()
        with as_http():
            found = self._opened.open(dicom_path(request.get("image")))
            series = found.choose(str(request.get("series") or "") or None)
            result = self._grounder().ground(
                series,
                [_question(request)],
                slices=str(request.get("slices") or self.config()["slices"]),
                carry=str(request.get("carry") or self.config()["carry"]),
            )
            grid = grid_of(series)
            suffix = str(request.get("result_extension") or ".nii.gz")
            compressed = bool(request.get("result_compress", True))
            answer = describe(result, grid, time.perf_counter() - started)
            return str(write_label(result.findings[0], grid, suffix, compressed=compressed)), answer


class RetrainTask(TrainTask):  # type: ignore[misc]  # MONAI Label has no type information
    """Starts a Prefect deployment; the training runs where its worker is, not in this server."""

    def __init__(self, deployment: str, prefect: str) -> None:
        super().__init__(f"Starts the Prefect deployment {deployment}")
        self._deployment, self._prefect = deployment, prefect

    def config(self) -> dict[str, Any]:
        """What a client may change."""
        return {"parameters": {}}

    def __call__(self, request: Request, datastore: object) -> dict[str, str]:
        """Start a run with ``parameters`` of the request; its id, name, state and page.

        Raises
        ------
        HTTPException
            With status 400 for a wrong deployment or parameter, with 500 where no Prefect server answers.
        """
        with as_http():
            parameters = request.get("parameters") or {}
            if not isinstance(parameters, Mapping):
                raise InputError("parameters must be an object of names and values")
            return start_deployment(self._deployment, parameters, self._prefect or None)


@contextmanager
def as_http() -> Iterator[None]:
    """Our errors with the status and the words that an HTTP client reads."""
    try:
        yield
    except MedReasonerError as error:
        raise HTTPException(400 if isinstance(error, InputError) else 500, detail=str(error)) from error


def _question(request: Request) -> str:
    question = request.get("question")
    if not isinstance(question, str) or not question.strip():
        raise InputError('a question is needed: params={"question": "…"}')
    return question
