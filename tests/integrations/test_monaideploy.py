"""The app through MONAI Deploy's SDK, as its users and its packager start it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.series import choose_series
from tests.dicom.tools import dciodvfy_errors, make_ct
from tests.integrations.answering import QUESTION, TRACE
from tests.integrations.conftest import ROOT, bright_ct, environment, needs, python_of, real_ct

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600), needs("monaideploy")]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "app"
    made = [str(python_of("monaideploy")), "-m", "medreasoner_monai.integrations.monaideploy", str(folder)]
    subprocess.run(made, check=True, env=environment(), cwd=ROOT, capture_output=True)
    return folder


def run(app: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(python_of("monaideploy")), str(app), *map(str, arguments)]
    return subprocess.run(
        command, env=environment(**variables), cwd=app.parent, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("source", [bright_ct, real_ct])
def test_a_folder_and_a_question_give_seg_report_and_picture(
    app: Path, bundle: Path, source: Any, tmp_path: Path
) -> None:
    series = choose_series(source(tmp_path / "ct"))
    out = tmp_path / "out"
    done = run(app, "-i", tmp_path / "ct", "-o", out, "-m", bundle, "--question", QUESTION)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.name for p in out.iterdir()) == [
        "answer.json", "capture.dcm", "overlay.png", "report.dcm", "seg.dcm",
    ]  # fmt: skip
    answer = json.loads((out / "answer.json").read_text())
    (finding,) = answer["findings"]
    assert (finding["question"], finding["status"], finding["trace"]) == (QUESTION, "found", TRACE)
    assert answer["notice"] == RESEARCH_USE and answer["series_instance_uid"] == series.uid
    seg = highdicom.seg.segread(out / "seg.dcm")
    sources = [series.sop_instance_uid(i) for i in range(len(series))]
    masks = seg.get_pixels_by_source_instance(sources, assert_missing_frames_are_empty=True)[..., 0] > 0
    assert int(masks.sum()) == finding["voxels"] > 0
    if source is bright_ct:
        bright = np.zeros(series.shape, dtype=bool)
        bright[:, 36:76, 36:76] = True
        assert 2 * (bright & masks).sum() / (bright.sum() + masks.sum()) > 0.8
    assert dcmread(out / "report.dcm").Modality == "SR"
    for name in ("seg.dcm", "report.dcm", "capture.dcm"):
        assert dciodvfy_errors(out / name) == []
    assert str(series.headers[0].PatientName) not in done.stdout + done.stderr


def test_a_package_is_asked_by_variables_and_finds_its_bundle_among_the_models(
    app: Path, bundle: Path, tmp_path: Path
) -> None:
    bright_ct(tmp_path / "ct")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/medreasoner_grounding").symlink_to(bundle)
    done = run(
        app,
        HOLOSCAN_INPUT_PATH=str(tmp_path / "ct"),
        HOLOSCAN_OUTPUT_PATH=str(tmp_path / "out"),
        HOLOSCAN_MODEL_PATH=str(tmp_path / "models"),
        MEDREASONER_QUESTION=f"{QUESTION}\nWhat else is bright?",
        MEDREASONER_SLICES="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads((tmp_path / "out/answer.json").read_text())
    assert [f["question"] for f in answer["findings"]] == [QUESTION, "What else is bright?"]
    assert answer["slices_asked"] == [1]


def test_nothing_found_gives_a_report_and_no_seg(app: Path, silent: Path, tmp_path: Path) -> None:
    bright_ct(tmp_path / "ct")
    out = tmp_path / "out"
    done = run(app, "-i", tmp_path / "ct", "-o", out, "-m", silent, "--question", QUESTION, "--slices", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (out / "seg.dcm").exists() and (out / "report.dcm").is_file()
    assert json.loads((out / "answer.json").read_text())["findings"][0]["status"] == "nothing found"


def test_of_several_series_one_is_chosen_by_its_uid(app: Path, bundle: Path, tmp_path: Path) -> None:
    bright_ct(tmp_path / "ct/a")
    make_ct(tmp_path / "ct/b", 3, shape=(112, 112))
    wanted = choose_series(tmp_path / "ct/a")
    arguments = ("-i", tmp_path / "ct", "-o", tmp_path / "out", "-m", bundle, "--question", QUESTION)
    undecided = run(app, *arguments)
    assert undecided.returncode == 2 and "holds 2 image series" in undecided.stderr
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    chosen = run(app, *arguments, "--series", wanted.uid[-10:])
    assert chosen.returncode == 0, chosen.stderr
    assert json.loads((tmp_path / "out/answer.json").read_text())["series_instance_uid"] == wanted.uid


def test_what_is_wrong_is_said_in_one_line(app: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bright_ct(tmp_path / "ct")
    asked = ("-o", tmp_path / "out", "--question", QUESTION)
    cases = {
        "no DICOM file found": ("-i", tmp_path / "empty", "-m", bundle, *asked),
        "holds no bundle(s)": ("-i", tmp_path / "ct", "-m", tmp_path / "empty", *asked),
        "a question is needed": ("-i", tmp_path / "ct", "-m", bundle, "-o", tmp_path / "out"),
    }
    for message, arguments in cases.items():
        done = run(app, *arguments)
        assert done.returncode == 2, done.stderr
        assert message in [x for x in done.stderr.splitlines() if x.startswith("error: ")][-1]


def test_the_packager_reads_what_describes_the_app(app: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from holoscan_cli.packager.config_reader import *\n"
        "p = PackageBuildParameters(); p.application = Path(sys.argv[1]); c = ApplicationConfiguration()\n"
        "c.read(Path(sys.argv[1]) / 'app.yaml'); m = c.populate_app_manifest(p)\n"
        "assert p.requirements_file_path is not None, 'requirements.txt is not seen'\n"
        "print(c.title(), m.version, m.command, m.input['formats'], c.populate_package_manifest(p).resources['gpu'])"
    )
    done = subprocess.run(
        [str(python_of("monaideploy")), "-c", code, str(app)], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert "research use only 1.0" in done.stdout and "/opt/holoscan/app" in done.stdout and "['file']" in done.stdout
    pins = (app / "requirements.txt").read_text().split()
    locked = (ROOT / "constraints/monaideploy.txt").read_text().split()
    assert pins[0].startswith("medreasoner-monai==") and len(pins) > 8 and set(pins[1:]) <= set(locked)
