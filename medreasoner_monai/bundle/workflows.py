"""What the bundle's other configs run: a whole volume, an evaluation, a training."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from medreasoner_monai.bundle.components import questions_of
from medreasoner_monai.dicom.seg import parse_kind
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import MedReasonerError
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.outputs import Outputs, check_folder, log_summary, write_outputs
from medreasoner_monai.grounding.plan import check_kind, make_plan
from medreasoner_monai.grounding.request import GroundingSettings

logger = logging.getLogger(__name__)


def ground_volume(
    grounder: Grounder,
    series: Series,
    question: object,
    settings: GroundingSettings,
    output_dir: str,
    seg_kind: str = "binary",
) -> Outputs:
    """Answer questions about a series and carry the masks through it: what ground_series.json runs."""
    check_folder(Path(output_dir))
    kind, questions = parse_kind(seg_kind), questions_of(question)
    check_kind(make_plan(series, questions, settings), kind)
    result = grounder.ground(series, questions, settings=settings)
    outputs = write_outputs(result, Path(output_dir), seg=kind)
    log_summary(result, outputs)
    return outputs


def evaluate(
    bundle_root: str, data: object, output_dir: str, segmenter_name: str, batch_size: int = 32
) -> Mapping[str, Any]:
    """Evaluate the bundle on labelled samples: what evaluate.json runs.

    Parameters
    ----------
    data:
        A parquet file in the U-MRG schema, or a folder with ``images`` and ``masks``.
    output_dir:
        A new folder, or one in which the same evaluation was begun.

    Returns
    -------
    The overall metrics: by name ``mean``, ``low``, ``high``.

    Raises
    ------
    InputError
        If there is no such data, or the folder holds something else.
    """
    from medreasoner_monai.bundle.contents import build_segmenter
    from medreasoner_monai.errors import InputError
    from medreasoner_monai.evaluation.command import Options, evaluate_to
    from medreasoner_monai.evaluation.embeddings import Embeddings
    from medreasoner_monai.evaluation.resolve import Data, build_answerer
    from medreasoner_monai.pipeline.progress import LogProgress

    if data is None:
        raise InputError("evaluate.json needs labelled samples: --data FILE.parquet or a folder with images and masks")
    segmenter = build_segmenter(segmenter_name, Path(bundle_root))
    finished = evaluate_to(
        Path(output_dir),
        build_answerer(bundle_root),
        Data.open(Path(str(data))),
        {segmenter.name: Embeddings(segmenter)},
        Options(batch=int(batch_size)),
        LogProgress("evaluate"),
    )
    assert finished is not None  # one part is all of it
    overall: Mapping[str, Any] = finished.metrics["overall"]
    for name, value in overall.items():
        logger.info("%s %.4f", name, value["mean"])
    return overall


def start_training(
    deployment: str, parameters: Mapping[str, Any] | None, prefect_api_url: str | None
) -> dict[str, Any]:
    """Start the Prefect deployment that makes the bundle's next version: what train.json runs.

    Raises
    ------
    MedReasonerError
        If no server answers, or it has no such deployment.
    """
    from medreasoner_monai.pipeline.deployments import start_deployment

    started = start_deployment(deployment, dict(parameters or {}), prefect_api_url)
    logger.info("started %s: run %s, %s", deployment, started["id"], started["url"])
    return started


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
