"""The app that MONAI Deploy runs: load, select, ask, write."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from holoscan.conditions import CountCondition
from monai.deploy.core import AppContext, Application, init_app_context
from monai.deploy.operators import DICOMDataLoaderOperator

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.bundle.contents import Bundle
from medreasoner_monai.dicom.opened import Opened
from medreasoner_monai.errors import MedReasonerError
from medreasoner_monai.grounding.outputs import check_folder
from medreasoner_monai.integrations.monaideploy.operators import SELECTED, GroundingOperator, SeriesSelector
from medreasoner_monai.integrations.monaideploy.request import Request, find_bundle, read_request, usage
from medreasoner_monai.task.prompts import check_question


class GroundingApplication(Application):  # type: ignore[misc]  # the SDK has no type information
    """DICOM files and questions in; SEG, report, picture and JSON out.

    Parameters
    ----------
    folder, out:
        Input and output.
    bundle:
        The bundle's folder.
    request:
        The questions.
    """

    def __init__(self, folder: Path, out: Path, bundle: Path, request: Request) -> None:
        self._folder, self._out, self._bundle, self._request = folder, out, bundle, request
        super().__init__()

    def compose(self) -> None:
        """One run through three operators."""
        # What is wrong with the input, the selector says in our own words.
        loader = DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=self._folder, must_load=False, name="loader"
        )
        opened, request = Opened(), self._request
        selector = SeriesSelector(self, folder=self._folder, opened=opened, wanted=request.series, name="selector")
        grounding = GroundingOperator(
            self,
            bundle=self._bundle,
            folder=self._folder,
            opened=opened,
            out=self._out,
            request=request,
            name="grounding",
        )
        self.add_flow(loader, selector, {(loader.output_name, selector.input_name_study_list)})
        self.add_flow(selector, grounding, {(selector.output_name_selected_series, SELECTED)})


def prepare(context: AppContext, request: Request) -> GroundingApplication:
    """The app, once everything that needs no model has been looked at.

    Parameters
    ----------
    context:
        Input, output and model path, as the SDK read them from arguments and variables.

    Raises
    ------
    InputError
        If the model path holds no bundle, a question cannot be asked, or the output is a file.
    """
    out, bundle = Path(context.output_path), find_bundle(Path(context.model_path))
    Bundle.open(bundle)
    check_folder(out)
    for question in request.questions:
        check_question(question)
    return GroundingApplication(Path(context.input_path), out, bundle, request)


def main() -> int:
    """Run the app with the process's arguments and variables; its exit code."""
    try:
        request, others = read_request(sys.argv[1:], os.environ)
        if {"-h", "--help"} & set(others):
            sys.stdout.write(f"{RESEARCH_USE}\n\n{usage()}\n\n")
        context = init_app_context([sys.argv[0], *others])
        # Its operators name what they find odd in a file together with its value.
        logging.getLogger("monai.deploy.operators").setLevel(logging.ERROR)
        prepare(context, request).run()
    except MedReasonerError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0
