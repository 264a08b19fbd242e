"""Flow: the report."""

from __future__ import annotations

from typing import Any

from flows.common import Run
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.report import report_stage


@flow(name="report", validate_parameters=False)
def report(run: Run, finished: report_stage.Finished) -> dict[str, Any]:
    """Write report.html and summary.json."""
    return report_stage.report(run.context, finished)
