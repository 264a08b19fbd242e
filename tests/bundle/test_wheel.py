"""A bundle copied to an empty folder, run where the wheel is installed and no checkout is near."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from medreasoner_monai.bundle.packaging import package_bundle
from tests.dicom.tools import dciodvfy_errors, make_ct

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python() -> Path:
    path = ROOT / ".venv/wheel/bin/python"
    if not path.exists():
        message = "the wheel is not installed in an environment of its own; `make wheel` does it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


def run(python: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """In an environment that says nothing of this checkout."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(python), *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from medreasoner_monai.reasoners.starter import StarterSettings, build

    folder = tmp_path_factory.mktemp("wheel")
    build(folder / "model", ["Which part is bright?"], StarterSettings())
    package_bundle(folder / "model", folder / "made", {"version": "1.0.0"})
    copied = folder / "elsewhere/bundle"
    shutil.copytree(folder / "made", copied)
    shutil.rmtree(folder / "made")
    return copied


def test_the_package_is_the_wheels(python: Path, tmp_path: Path) -> None:
    done = run(python, tmp_path, "-c", "import medreasoner_monai; print(medreasoner_monai.__file__)")
    assert done.stdout.startswith(str(ROOT / ".venv/wheel/lib")), done.stderr


def test_the_copied_bundle_runs(python: Path, bundle: Path, tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 2)
    done = run(
        python, bundle, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json",
        "--dicom_dir", str(tmp_path / "ct"), "--question", "Which part is bright?",
        "--output_dir", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/answer.json").read_text())["slices_asked"] == [0, 1]
    assert dciodvfy_errors(tmp_path / "out/report.dcm") == []


def test_the_copied_bundle_passes_every_check(python: Path, bundle: Path) -> None:
    done = run(python, bundle, "-m", "medreasoner_monai", "bundle", "verify", ".", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {c["state"] for c in json.loads(done.stdout)} == {"passed", "skipped"}
