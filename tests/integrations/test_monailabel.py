"""MONAI Label's own server with our app: asked over HTTP, labels read back with another library."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import nrrd
import numpy as np
import pytest

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.pipeline.prefect_server import prefect_server
from tests.dicom.tools import paths_of
from tests.integrations.answering import QUESTION, TRACE
from tests.integrations.conftest import bright_ct, environment, needs, python_of, real_ct
from tests.integrations.label_server import MODEL, LabelServer, label_server
from tests.integrations.viewer.orthanc import Archive

pytestmark = [pytest.mark.chain, pytest.mark.timeout(600), needs("monailabel")]


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server with the deployment that the app starts."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home))
        with prefect_server(home, None) as url:
            from prefect.client.orchestration import SyncPrefectClient

            with SyncPrefectClient(url) as client:
                client.create_deployment(client.create_flow_from_name("retrain"), "scheduled")
            yield url


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    bright_ct(folder / "made.1.2")
    (folder / "notes").mkdir()
    (folder / "notes/read.me").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, bundle: Path, studies: Path, prefect: str
) -> Iterator[LabelServer]:
    with label_server(tmp_path_factory.mktemp("label"), bundle, studies, prefect=prefect) as running:
        yield running


def labels(response: Any, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The label of an ``output=image`` answer as ``(slices, rows, columns)``, with pynrrd's header."""
    assert response.status_code == 200, response.text
    (folder / "label.nrrd").write_bytes(response.content)
    data, header = nrrd.read(str(folder / "label.nrrd"))
    return np.transpose(data), header


def left(server: LabelServer) -> list[str]:
    """Volumes among the server's temporary files, some seconds after its last answer: it deletes in the background."""
    deadline = time.monotonic() + 10
    while True:
        names = [p.name for p in server.temporary.iterdir() if p.name.endswith((".nii.gz", ".nii", ".nrrd"))]
        if not names or time.monotonic() > deadline:
            return names
        time.sleep(0.2)


def test_the_app_says_what_it_offers(server: LabelServer) -> None:
    info = server.get("/info/").json()
    assert info["models"][MODEL]["config"].keys() == {"question", "slices", "carry", "series"}
    assert RESEARCH_USE in info["description"] and RESEARCH_USE in info["models"][MODEL]["description"]
    assert list(info["trainers"]) == [MODEL]


def test_folders_of_dicom_files_are_the_images(server: LabelServer) -> None:
    listed = server.get("/datastore/", output="all").json()["objects"]
    assert list(listed) == ["made.1.2"]


def test_a_question_gives_the_trace_the_region_and_where_it_came_from(server: LabelServer, studies: Path) -> None:
    series = choose_series(studies / "made.1.2")
    answer = server.infer("made.1.2", question=QUESTION).json()
    assert (answer["status"], answer["reason"], answer["trace"]) == ("found", "", TRACE)
    assert answer["box"] == [28, 28, 84, 84] and answer["points"] == [[48, 48], [64, 60]]
    assert answer["notice"] == RESEARCH_USE and answer["series_instance_uid"] == series.uid
    assert answer["sop_instance_uid"] == series.sop_instance_uid(answer["slice"])
    record = answer["answer"]
    assert record["findings"][0]["question"] == QUESTION and record["reasoner"]["digest"]
    assert record["lineage"]["version"] == "9.9.9" and record["packages"]["numpy"].startswith("1.26")


def test_the_label_fits_on_the_images(server: LabelServer, studies: Path, tmp_path: Path) -> None:
    series = choose_series(studies / "made.1.2")
    answer = server.infer("made.1.2", question=QUESTION).json()
    data, header = labels(server.infer("made.1.2", "image", question=QUESTION, result_extension=".nrrd"), tmp_path)
    assert data.shape == series.shape and set(np.unique(data)) == {0, 1}
    assert int(data.sum()) == answer["voxels"]
    bright = np.zeros(series.shape, dtype=bool)
    bright[:, 36:76, 36:76] = True
    assert 2 * (bright & (data > 0)).sum() / (bright.sum() + data.sum()) > 0.8
    assert header["space"] == "left-posterior-superior"
    assert np.allclose(header["space origin"], series.headers[0].ImagePositionPatient)
    assert np.allclose(header["space directions"], np.diag([0.8, 0.8, 2.5]))


def test_all_of_an_answer_comes_in_one_response(server: LabelServer) -> None:
    response = server.infer("made.1.2", "all", question=QUESTION)
    assert response.headers["content-type"].startswith("multipart/form-data")
    assert TRACE.encode() in response.content and b'filename="medreasoner-' in response.content


def test_a_path_on_the_server_is_an_image_too(server: LabelServer, studies: Path) -> None:
    by_path = server.infer(str(studies / "made.1.2"), question=QUESTION, slices="1").json()
    assert by_path["status"] == "found" and by_path["answer"]["slices_asked"] == [1]


def test_a_dicom_file_can_be_sent_along(server: LabelServer, studies: Path) -> None:
    series = choose_series(studies / "made.1.2")
    response = httpx.post(
        f"{server.url}/infer/{MODEL}",
        params={"output": "json"},
        data={"params": json.dumps({"question": QUESTION})},
        files={"file": ("slice.dcm", paths_of(series)[2].read_bytes())},
        timeout=120,
        trust_env=False,
    )
    answer = response.json()
    assert answer["status"] == "found" and answer["sop_instance_uid"] == series.sop_instance_uid(2)


def test_the_label_can_be_kept_in_the_datastore(server: LabelServer) -> None:
    server.infer("made.1.2", question=QUESTION, save_label=True)
    kept = server.get("/datastore/", output="all").json()["objects"]["made.1.2"]["labels"]["original"]
    assert kept["info"]["params"]["trace"] == TRACE
    assert server.get("/datastore/label", label="made.1.2", tag="original").content[:2] == b"\x1f\x8b", "gzip"


@pytest.mark.parametrize(
    ("image", "params", "message"),
    [
        ("made.1.2", {}, "a question is needed"),
        ("made.1.2", {"question": "  "}, "a question is needed"),
        ("made.1.2", {"question": QUESTION, "slices": "7"}, "slice 7 is asked for"),
        ("made.1.2", {"question": QUESTION, "series": "9.9"}, "no series has the UID '9.9'"),
        ("made.1.2", {"question": QUESTION, "result_extension": ".jpg"}, "result_extension must be one of"),
        ("unknown", {"question": QUESTION}, "must be a DICOM series"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    server: LabelServer, image: str, params: dict[str, Any], message: str
) -> None:
    response = server.infer(image, **params)
    assert response.status_code == 400 and message in response.json()["detail"]


def test_questions_asked_at_once_get_their_own_answers(server: LabelServer) -> None:
    asked = [f"Which part is bright, number {n}?" for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda q: server.infer("made.1.2", question=q, slices="1").json(), asked))
    assert [a["question"] for a in answers] == asked
    assert {a["answer"]["findings"][0]["question"] for a in answers} == set(asked)


def test_nothing_temporary_is_left(server: LabelServer) -> None:
    server.infer("made.1.2", "image", question=QUESTION)
    server.infer("made.1.2", question=QUESTION)
    assert left(server) == []


def test_training_starts_a_run_where_prefect_is(server: LabelServer, prefect: str) -> None:
    started = server.train({"parameters": {"workspace": "runs/again"}}, run_sync=True).json()
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(prefect) as client:
        run = client.read_flow_run(UUID(started["id"]))
    assert run.state is not None and run.state.is_scheduled() and run.parameters == {"workspace": "runs/again"}


def test_training_as_clients_start_it_tells_the_runs_number(server: LabelServer, prefect: str) -> None:
    server.train({}).raise_for_status()
    deadline = time.monotonic() + 120
    while (task := server.get("/train/").json())["status"] in ("SUBMITTED", "RUNNING"):
        assert time.monotonic() < deadline, task
        time.sleep(1)
    assert task["status"] == "DONE", task["details"]
    said = next(line for line in reversed(task["details"]) if "Result: " in line)
    assert UUID(json.loads(said.partition("Result: ")[2])["id"])


def test_the_log_has_no_patient_data(server: LabelServer, studies: Path) -> None:
    header = choose_series(studies / "made.1.2").headers[0]
    log = server.log.read_text(errors="replace")
    assert "the bundle's models are loaded" in log
    assert str(header.PatientName) not in log and str(header.PatientID) not in log


def test_nothing_found_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, silent: Path, studies: Path, tmp_path: Path
) -> None:
    with label_server(tmp_path_factory.mktemp("silent-label"), silent, studies) as running:
        response = running.infer("made.1.2", question=QUESTION, slices="1")
        assert response.status_code == 200
        answer = response.json()
        assert answer["status"] == "nothing found" and answer["reason"]
        assert answer["box"] is None and answer["trace"] is None and answer["voxels"] == 0
        asked = {"question": QUESTION, "slices": "1", "result_extension": ".nrrd"}
        data, _ = labels(running.infer("made.1.2", "image", **asked), tmp_path)
    assert data.shape == (3, 112, 112) and not data.any()


@pytest.mark.parametrize("source", [bright_ct, real_ct])
def test_a_series_of_an_archive_is_asked_by_its_uid(
    source: Any, archive: Archive, bundle: Path, tmp_path: Path
) -> None:
    series = choose_series(source(tmp_path / "ct"))
    archive.store(tmp_path / "ct")
    (tmp_path / "server").mkdir()
    with label_server(tmp_path / "server", bundle, archive.dicomweb) as running:
        answer = running.infer(series.uid, question=QUESTION).json()
        assert answer["status"] == "found" and answer["series_instance_uid"] == series.uid
        assert answer["sop_instance_uid"] == series.sop_instance_uid(answer["slice"])
        data, label = labels(running.infer(series.uid, "image", question=QUESTION, result_extension=".nrrd"), tmp_path)
        # What a viewer loads: MONAI Label's own conversion of the same series, by ITK.
        volume = running.get("/datastore/image", image=series.uid)
        image = geometry_by_itk(volume.content, tmp_path)
        seg = running.infer(series.uid, "dicom_seg", question=QUESTION, label_info=[{"name": "answer"}])
        missing = running.infer("1.2.3.4", question=QUESTION)
        copies = left(running)
    assert data.shape == series.shape and int(data.sum()) == answer["voxels"]
    assert image["size"] == list(series.shape[::-1])
    assert np.allclose(label["space origin"], image["origin"], atol=1e-3)
    assert np.allclose(label["space directions"], np.array(image["directions"]), atol=1e-4)
    (tmp_path / "seg.dcm").write_bytes(seg.content)
    assert seg.headers["content-type"] == "application/dicom"
    assert missing.status_code == 404 and "no series 1.2.3.4" in missing.json()["detail"]
    assert copies == [], "the first request leaves no copy of the images behind"


def geometry_by_itk(content: bytes, folder: Path) -> dict[str, Any]:
    """Size, origin and the vectors from voxel to voxel (rows of the result) of a NIfTI file, read by SimpleITK."""
    (folder / "image.nii.gz").write_bytes(content)
    code = (
        "import json, sys, SimpleITK as s, numpy as n; i = s.ReadImage(sys.argv[1]);"
        "d = n.array(i.GetDirection()).reshape(3, 3) * i.GetSpacing();"
        "print(json.dumps({'size': i.GetSize(), 'origin': i.GetOrigin(), 'directions': d.T.tolist()}))"
    )
    command = [str(python_of("monailabel")), "-c", code, str(folder / "image.nii.gz")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout)
