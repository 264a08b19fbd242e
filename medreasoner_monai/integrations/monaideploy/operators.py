"""The app's own operators: one chooses the series, one answers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monai.deploy.core import Operator, OperatorSpec
from monai.deploy.core.domain.dicom_series_selection import SelectedSeries, StudySelectedSeries
from monai.deploy.core.domain.dicom_study import DICOMStudy
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.bundle.contents import Bundle
from medreasoner_monai.dicom.opened import Opened
from medreasoner_monai.errors import DicomError
from medreasoner_monai.grounding.outputs import write_outputs
from medreasoner_monai.integrations.monaideploy.request import Request

logger = logging.getLogger(__name__)

SELECTED = "study_selected_series_list"


class SeriesSelector(DICOMSeriesSelectorOperator):  # type: ignore[misc]  # the SDK has no type information
    """The SDK's selector with the project's own choice in place of rules: one series of images proper.

    Parameters
    ----------
    folder:
        The app's input.
    opened:
        Reads it; shared with the other operator, so that it is read once.
    uid:
        Series Instance UID, or its end; None where there is one to choose.
    """

    def __init__(self, *args: Any, folder: Path, opened: Opened, uid: str | None, **kwargs: Any) -> None:
        self._folder, self._opened, self._uid = folder, opened, uid
        super().__init__(*args, **kwargs)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """As the SDK's, which would also write the series' description, free text of the file, into the log."""
        studies = op_input.receive(self.input_name_study_list)
        op_output.emit(self.filter(None, studies), self.output_name_selected_series)

    def filter(
        self, selection_rules: object, dicom_study_list: list[DICOMStudy], *_: object, **__: object
    ) -> list[StudySelectedSeries]:
        """The chosen series, under the name that chooses it again.

        Raises
        ------
        DicomError
            As :meth:`~medreasoner_monai.dicom.found.Found.choose`; also if the SDK has not loaded the series.
        """
        series = self._opened.open(self._folder).choose(self._uid)
        for study in dicom_study_list:
            for candidate in study.get_all_series():
                if str(candidate.SeriesInstanceUID) == series.uid:
                    selected = StudySelectedSeries(study)
                    selected.add_selected_series(SelectedSeries(series.key, candidate))
                    return [selected]
        raise DicomError(f"{self._folder}: the SDK could not load series …{series.uid[-12:]}; see its warnings above")


class GroundingOperator(Operator):  # type: ignore[misc]  # the SDK has no type information
    """Answers the questions about the selected series with a bundle, and writes SEG, report, picture and JSON.

    Parameters
    ----------
    bundle:
        The bundle's folder.
    folder, out:
        The app's input and output.
    opened:
        See :class:`SeriesSelector`.
    request:
        The questions, and how they are asked.
    """

    def __init__(
        self, *args: Any, bundle: Path, folder: Path, opened: Opened, out: Path, request: Request, **kwargs: Any
    ) -> None:
        self._bundle, self._folder, self._opened, self._out, self._request = bundle, folder, opened, out, request
        super().__init__(*args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """One input, and files as output."""
        spec.input(SELECTED)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Ask and write; that nothing was found is an answer, with a report and no SEG."""
        (study,) = op_input.receive(SELECTED)
        (selected,) = study.selected_series
        series = self._opened.open(self._folder).choose(selected.selection_name)
        grounder = Bundle.open(self._bundle).grounder(self._request.device)
        result = grounder.ground(
            series, self._request.questions, slices=self._request.slices, carry=self._request.carry
        )
        outputs = write_outputs(result, self._out)
        for finding in result.findings:
            logger.info("%s: %d voxels on %d slice(s)", finding.status, finding.voxels, len(finding.marked))
        logger.info("wrote %s. %s", ", ".join(p.name for p in outputs.paths), RESEARCH_USE)
