"""The app that MONAI Label's server runs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.config import settings as server_settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.bundle.contents import Bundle
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.integrations.monailabel.datastore import SeriesFolders, fetch
from medreasoner_monai.integrations.monailabel.settings import AppSettings
from medreasoner_monai.integrations.monailabel.tasks import GroundingTask, RetrainTask

logger = logging.getLogger(__name__)

MODEL = "medreasoner_grounding"
"""The name under which both tasks are asked for: ``/infer/medreasoner_grounding``, ``/train/medreasoner_grounding``."""


class GroundingApp(MONAILabelApp):  # type: ignore[misc]  # MONAI Label has no type information
    """Questions about DICOM series, answered by a bundle.

    The bundle is looked at when the app is made, and its models are loaded when the server is ready to start. Training
    and other background tasks make the app again in a process of their own, which loads no model.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        self.settings = AppSettings.read(conf)
        Bundle.open(self.settings.bundle)
        self._grounder: Grounder | None = None
        self._opening = threading.Lock()
        # The environment's own programs, also where it was not activated: the DICOM SEG writer is one of them.
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
        super().__init__(
            app_dir,
            studies,
            dict(conf),
            name="medreasoner",
            description=f"Questions about medical images, answered with a region and its reasoning. {RESEARCH_USE}",
            version=__version__,
        )

    def grounder(self) -> Grounder:
        """The opened bundle; opened once, by whoever needs it first."""
        with self._opening:
            if self._grounder is None:
                self._grounder = Bundle.open(self.settings.bundle).grounder(self.settings.device or None)
            return self._grounder

    def on_init_complete(self) -> None:
        """Called by the server before it answers anything."""
        self.grounder()
        logger.info("the bundle's models are loaded. %s", RESEARCH_USE)
        super().on_init_complete()

    def init_infers(self) -> dict[str, GroundingTask]:
        """One task, which answers questions."""
        return {MODEL: GroundingTask(self.grounder, self.settings.slices, self.settings.carry)}

    def init_trainers(self) -> dict[str, RetrainTask]:
        """One task, which has Prefect train."""
        return {MODEL: RetrainTask(self.settings.deployment, self.settings.prefect)}

    def init_datastore(self) -> Datastore:
        """DICOMweb for an address, otherwise folders of DICOM files."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return SeriesFolders(
            self.studies,
            extensions=server_settings.MONAI_LABEL_DATASTORE_FILE_EXT,
            auto_reload=server_settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=server_settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """MONAI Label's own, once a series of an archive has been fetched."""
        image, store = request.get("image"), datastore or self.datastore()
        if isinstance(store, DICOMWebDatastore) and isinstance(image, str) and not Path(image).exists():
            fetch(store, image)
        answered: dict[str, Any] = super().infer(request, datastore)
        return answered

    def _download_dcmqi_tools(self) -> None:
        """Nothing is fetched at start: the environment brings dcmqi."""
