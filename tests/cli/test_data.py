"""`medreasoner curate` and `medreasoner data`, as a person types them; a killed curation gives the same files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner, Result

from medreasoner_monai.cli.app import app
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.artifacts import Artifact
from tests.samples import sample

SETS = 40
PICTURES = 3


def call(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def make_sets(folder: Path, sets: int, pictures: int = 6) -> None:
    """Folders of noise with two brighter squares each; of every fifth picture one mask is too small."""
    rng = np.random.default_rng(0)
    for n in range(sets):
        for kind in ("images", "masks"):
            (folder / f"set{n:02}" / kind).mkdir(parents=True)
        for p in range(pictures):
            image = rng.integers(0, 99, (96, 128)).astype(np.uint8)
            for name, left in (("liver", 10), ("spleen", 80)):
                side = 2 if name == "spleen" and p % 5 == 0 else 24 + p
                mask = np.zeros_like(image)
                top, left = int(rng.integers(4, 60)), left + int(rng.integers(0, 12))  # no two masks alike
                mask[top : top + side, left : left + side] = 255
                image[mask > 0] += 90
                Image.fromarray(mask).save(folder / f"set{n:02}" / "masks" / f"p{p}_CT_abdomen_{name}.png")
            Image.fromarray(image).save(folder / f"set{n:02}" / "images" / f"p{p}_CT_abdomen.png")


def config(folder: Path, data: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"name: sets\ndata:\n  sources:\n    - {{kind: folder, path: {data}}}\n", encoding="utf-8")
    return path


def dataset(workspace: Path) -> Artifact:
    (found,) = workspace.glob("artifacts/dataset-*[0-9a-f]")
    return Artifact.open(found, "dataset", verify=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the data set of four small sets."""
    folder = tmp_path_factory.mktemp("small")
    make_sets(folder / "sets", 4)
    done = call("curate", "--config", config(folder, folder / "sets"), "--workspace", folder / "space", "--json")
    assert json.loads(done.stdout[done.stdout.index("{") :])["masks"] == {"in": 48, "kept": 40, "rejected": 8}
    return folder / "space"


def test_curate_says_what_went_in_and_why_the_rest_was_set_aside(small: Path) -> None:
    again = call("curate", "--config", small.parent / "config.yaml", "--workspace", small)
    assert again.exit_code == 0 and str(dataset(small).path) in again.stdout.replace("\n", "")
    for words in ("masks in", "48", "set aside", "tiny", "Research use only"):
        assert words in again.output


def test_curate_without_a_source_that_is_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere has no images"):
        call("curate", "--config", config(tmp_path, tmp_path / "nowhere"), "--workspace", tmp_path / "space")


def test_the_artifact_has_its_card_and_sheets(small: Path) -> None:
    made = dataset(small)
    files = set(made.manifest["files"])
    assert {"card.html", "card.md", "card.json", "rejects.parquet"} <= files
    assert {name.split("-")[0] for name in files if name.startswith("sheets/")} == {"sheets/kept", "sheets/rejected"}
    rejects = pq.read_table(made.path / "rejects.parquet").to_pylist()
    assert {r["code"] for r in rejects} == {"tiny"} and all(r["thumbnail"] for r in rejects)


def test_the_data_set_is_an_input_of_an_mlflow_run_by_name_digest_and_counts(small: Path) -> None:
    made = dataset(small)
    client = MlflowClient(f"sqlite:///{small / 'mlflow' / 'mlflow.db'}")
    run = client.get_run(made.facts["mlflow_run"])
    (found,) = run.inputs.dataset_inputs
    assert found.dataset.name == made.path.name and made.digest.startswith(found.dataset.digest)
    assert json.loads(found.dataset.source) == {"digest": made.digest}
    assert json.loads(found.dataset.profile)["masks"] == {"in": 48, "kept": 40, "rejected": 8}
    assert run.data.metrics["masks/kept"] == 40 and run.info.status == "FINISHED"


def test_show_lists_splits_sources_and_gaps(small: Path) -> None:
    out = call("data", "show", dataset(small).path).output
    assert "set03" in out and "2 tiny" in out and "gap: " in out
    assert json.loads(call("data", "show", dataset(small).path, "--json").stdout)["samples"] == 40


def test_a_card_is_written_anew_beside_the_artifact_and_never_into_it(small: Path, tmp_path: Path) -> None:
    made = dataset(small)
    assert call("data", "card", made.path, "--out", tmp_path / "card").exit_code == 0
    assert (tmp_path / "card" / "card.html").read_bytes() == (made.path / "card.html").read_bytes()
    with pytest.raises(InputError, match="is an artifact, which does not change"):
        call("data", "card", made.path, "--out", made.path)


def test_diff_has_exit_code_0_when_same_1_when_not_2_when_unreadable(small: Path, tmp_path: Path) -> None:
    path = dataset(small).path
    assert call("data", "diff", path, path).exit_code == 0
    write_split(tmp_path / "test.parquet", [sample(0)])
    done = call("data", "diff", path / "test.parquet", tmp_path / "test.parquet", "--list")
    assert done.exit_code == 1 and "added: s0" in done.output and "evaluate the champion anew" in done.output
    found = json.loads(call("data", "diff", path / "test.parquet", tmp_path / "test.parquet", "--json").stdout)
    assert found["changes"]["added"] == 1 and not found["same"]
    with pytest.raises(InputError) as caught:
        call("data", "diff", path, tmp_path / "nowhere")
    assert caught.value.exit_code == 2


def curate(folder: Path, workspace: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "medreasoner_monai", "curate", "--plain"]
    command += ["--config", str(folder / "config.yaml"), "--workspace", str(workspace)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.timeout(600)
def test_a_curation_of_forty_sets_that_is_killed_and_resumed_gives_identical_files(tmp_path: Path) -> None:
    make_sets(tmp_path / "sets", SETS, PICTURES)
    config(tmp_path, tmp_path / "sets")
    undisturbed = curate(tmp_path, tmp_path / "one")

    killed = curate(tmp_path, tmp_path / "two")
    finished: list[Path] = []
    while killed.poll() is None and len(finished) < SETS // 4:
        time.sleep(0.05)
        finished = list(tmp_path.glob("two/artifacts/dataset-*.scratch/shards/*[0-9].json"))
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert SETS // 4 <= len(finished) < SETS
    assert not list(tmp_path.glob("two/artifacts/dataset-*[0-9a-f]/manifest.json")), "nothing half-made has its name"

    assert curate(tmp_path, tmp_path / "two").wait() == 0 and undisturbed.wait() == 0
    one, two = dataset(tmp_path / "one"), dataset(tmp_path / "two")
    assert two.manifest["files"] == one.manifest["files"] and two.digest == one.digest
    assert one.facts["masks"] == {"in": 240, "kept": 200, "rejected": 40}
