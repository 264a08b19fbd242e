"""What the tests of the apps share: the environments, a bundle that answers, series, and an archive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.dicom.tools import CT_FOLDER, make_ct
from tests.integrations.answering import answering_bundle, silent_bundle
from tests.integrations.viewer import orthanc
from tests.integrations.viewer.orthanc import Archive

ROOT = Path(__file__).parents[2]


def python_of(name: str) -> Path:
    """The Python of an environment that ``make`` builds on demand."""
    return ROOT / f".venv-{name}/bin/python"


def needs(name: str) -> pytest.MarkDecorator:
    """Skips where that environment has not been built; on CI it must have been, and the test fails."""
    reason = f"there is no .venv-{name}: make {name}, or make test-integrations"
    return pytest.mark.skipif(not python_of(name).exists() and not os.environ.get("CI"), reason=reason)


def environment(**more: str) -> dict[str, str]:
    """This checkout's code, nothing configured by whoever runs the tests, and no proxy to ourselves."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MONAI_LABEL_", "MEDREASONER_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **more}


def bright_ct(folder: Path, slices: int = 3) -> Path:
    """A made CT, square, with a bright square in the middle of each slice."""
    for path in make_ct(folder, slices, shape=(112, 112)):
        dataset = dcmread(path)
        pixels = np.full((112, 112), 1000, dtype=np.int16)
        pixels[36:76, 36:76] += 300
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(path)
    return folder


def real_ct(folder: Path) -> Path:
    """The real CT's three slices, copied; skips where there are none."""
    if not CT_FOLDER.is_dir():
        pytest.skip("the real CT is not beside the repository (../shared/data/ct_abdomen_dicom)")
    folder.mkdir(parents=True)
    for path in sorted(CT_FOLDER.glob("*.dcm")):
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers every question with the middle of the picture."""
    return answering_bundle(tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers nothing readable."""
    return silent_bundle(tmp_path_factory.mktemp("silent"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if orthanc.program() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(orthanc.INSTALL)
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as found:
        yield found
