"""`medreasoner ground` with a model served elsewhere: pictures leave this machine only where that was allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from medreasoner_monai.cli.app import app
from medreasoner_monai.errors import MedReasonerError
from tests.dicom.tools import make_ct
from tests.reasoners.chat_server import Server, completion, serve

REGION = '{"bbox": [14, 14, 70, 42], "points_1": [30, 20], "points_2": [50, 40]}'
ANSWER = f"<think>It is bright.</think><answer>{REGION}</answer>"

pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ground(bundle: Path, folder: Path, *more: str) -> Result:
    make_ct(folder / "ct", 3)
    arguments = ["ground", "--bundle", str(bundle), "--dicom", str(folder / "ct"), "--question", "Which part?"]
    return CliRunner().invoke(app, [*arguments, "--out", str(folder / "out"), *more])


def endpoint(server: Server) -> tuple[str, ...]:
    return ("--reasoner", server.url, "--model", "tiny")


def test_an_endpoint_answers_and_the_bundles_segmenter_marks(untrained_bundle: Path, tmp_path: Path) -> None:
    with serve(lambda *_: completion(ANSWER)) as server:
        done = ground(untrained_bundle, tmp_path, *endpoint(server), "--send-pictures")
    assert done.exit_code == 0, done.output
    assert f"pictures of the series and the questions are sent to {server.url}" in done.stderr
    assert {r.question for r in server.requests} == {"Which part?"} and len(server.requests) == 3
    answer = json.loads((tmp_path / "out/answer.json").read_text())
    (finding,) = answer["findings"]
    # The picture of 32 x 24 is sent as 84 x 56.
    assert finding["status"] == "found"
    assert finding["box"] == pytest.approx([14 * 32 / 84, 6, 70 * 32 / 84, 18], abs=0.01)
    assert answer["reasoner"]["name"] == "tiny" and answer["segmenter"]["name"] == "classical"
    assert answer["lineage"] == {} and answer["model_version"] == "", "the bundle's model did not answer"


def test_nothing_is_sent_unless_it_was_allowed(untrained_bundle: Path, tmp_path: Path) -> None:
    with serve(lambda *_: completion(ANSWER)) as server:
        refused = ground(untrained_bundle, tmp_path, *endpoint(server)).exception
        dry = ground(untrained_bundle, tmp_path, *endpoint(server), "--dry-run")
    assert isinstance(refused, MedReasonerError) and refused.exit_code == 2
    assert f"would leave this machine for {server.url}; add --send-pictures" in str(refused)
    assert dry.exit_code == 0 and f"sent to: {server.url}" in dry.stdout and "seen as: 84 x 56" in dry.stdout
    assert server.requests == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--reasoner", "http://127.0.0.1:9/v1", "--send-pictures"),
            "may serve several models; say which with --model",
        ),
        (("--reasoner", "nowhere"), "there is no reasoner 'nowhere'"),
        (("--model", "tiny"), "--model is about an endpoint; give its URL as --reasoner"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    untrained_bundle: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    error = ground(untrained_bundle, tmp_path, *more).exception
    assert isinstance(error, MedReasonerError) and message in str(error)


def test_a_model_folder_answers_in_place_of_the_bundles_model(untrained_bundle: Path, tmp_path: Path) -> None:
    done = ground(untrained_bundle, tmp_path, "--reasoner", str(untrained_bundle / "models/reasoner"), "--slices", "1")
    assert done.exit_code == 0, done.output
    answer = json.loads((tmp_path / "out/answer.json").read_text())
    assert answer["findings"][0]["status"] == "nothing found" and answer["lineage"] == {}
