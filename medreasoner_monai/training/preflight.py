"""What can be known to be wrong before a run starts: the question and the series, files, memory, disk and machines."""

from __future__ import annotations

from pathlib import Path

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import object_digest
from medreasoner_monai.settings.config import Settings

_passed: set[str] = set()


def check_run(settings: Settings, workspace: Path) -> None:
    """Look at all that a whole chain needs. What has passed in this process is not looked at again.

    Raises
    ------
    InputError
        For a question or a series that cannot be used.
    ConfigError
        With everything else that is known to be wrong.
    """
    check_ground(settings)
    if settings.model.path is not None:  # a starter needs nothing that could be missing
        check_training(settings, workspace)


def check_training(settings: Settings, workspace: Path) -> None:
    """Look at files, memory, disk and machines. What has passed in this process is not looked at again.

    Raises
    ------
    ConfigError
        With everything that is known to be wrong.
    """
    from medreasoner_monai.training.plan import plan

    key = object_digest([settings.model_dump(mode="json"), str(workspace.resolve())])
    if key in _passed:
        return
    found = plan(settings, workspace, here=True)
    if found.problems:
        raise ConfigError("; ".join(found.problems))
    _passed.add(key)


def check_ground(settings: Settings) -> None:
    """Look at the series and the question, before hours are spent on training.

    Raises
    ------
    InputError
        If the question is empty, or the series cannot be found or used.
    """
    from medreasoner_monai.task.prompts import check_question

    check_question(settings.ground.question)
    if settings.ground.dicom is not None:
        from medreasoner_monai.dicom.series import choose_series

        choose_series(settings.ground.dicom, settings.ground.series)
