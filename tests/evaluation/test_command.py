"""The evaluation folder: whole, resumable, never mixed up; and what is compared with what."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation import scoring as run_module
from medreasoner_monai.evaluation.answerers import CentreBox, Truth
from medreasoner_monai.evaluation.command import Finished, Options, evaluate_to, read_evaluation
from medreasoner_monai.evaluation.comparison import losses, paired_differences
from medreasoner_monai.evaluation.metrics import summarise
from medreasoner_monai.evaluation.records import ABOUT, read_records
from medreasoner_monai.evaluation.resolve import Data, build_answerer, segmenters
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.report.leaderboard import boards, write_leaderboard
from tests.samples import sample

NAMES = ("box", "ellipse", "classical")


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_split(tmp_path / "test.parquet", [sample(n) for n in range(9)])
    return tmp_path / "test.parquet"


def go(split: Path, out: Path, who: object = None, names: tuple[str, ...] = ("box",), **options: object) -> Finished:
    done = evaluate_to(
        out,
        who or Truth(),  # type: ignore[arg-type]
        Data.open(split),
        segmenters(names),
        Options(batch=2, bootstrap=100, **options),  # type: ignore[arg-type]
        NoProgress(),
    )
    assert done is not None
    return done


def test_three_segmenters_at_once_score_as_each_alone(split: Path, tmp_path: Path) -> None:
    together = go(split, tmp_path / "all", names=NAMES).metrics["overall"]
    for name in NAMES:
        alone = go(split, tmp_path / name, names=(name,)).metrics["overall"]
        assert {k: v for k, v in together.items() if f"/{name}/" in k} == {
            k: v for k, v in alone.items() if f"/{name}/" in k
        }
    values = {together[f"dice/{name}/box"]["mean"] for name in NAMES}
    assert len(values) == 3, "a test that mixes them up must be able to tell"


def test_killed_and_restarted_it_ends_byte_by_byte_the_same(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = go(split, tmp_path / "whole", names=NAMES)
    score = run_module.evaluate_batch
    calls: list[int] = []

    def die_at_third(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "evaluate_batch", die_at_third)
    with pytest.raises(KeyboardInterrupt):
        go(split, tmp_path / "killed", names=NAMES)
    assert not (tmp_path / "killed" / "metrics.json").exists()
    again = go(split, tmp_path / "killed", names=NAMES)
    assert len(calls) == 3 + 3  # five batches: two were done
    for name in ("metrics.json", "samples.parquet"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_sample_whose_id_is_taken_is_set_aside(tmp_path: Path) -> None:
    write_split(tmp_path / "test.parquet", [sample(0), sample(1), sample(2, id="s0")])
    done = go(tmp_path / "test.parquet", tmp_path / "out")
    assert [r.id for r in done.records] == ["s0", "s1"] and done.metrics["rejects"] == 1
    (reject,) = json.loads((tmp_path / "out" / "rejects.json").read_text())
    assert reject["where"] == "test.parquet row 2" and "another sample in test.parquet row 0" in reject["reason"]


def test_the_table_of_samples_says_what_it_is_of(split: Path, tmp_path: Path) -> None:
    go(split, tmp_path / "t")
    about = json.loads(pq.read_schema(tmp_path / "t" / "samples.parquet").metadata[ABOUT])
    assert about["reasoner"] == "truth"
    assert about["dataset"] == hashlib.sha256(split.read_bytes()).hexdigest()
    assert list(about["segmenters"]) == ["box"]


def test_another_evaluation_does_not_go_into_the_same_folder(split: Path, tmp_path: Path) -> None:
    go(split, tmp_path / "a")
    with pytest.raises(InputError, match="reasoner_digest"):
        go(split, tmp_path / "a", CentreBox())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(InputError, match="not empty"):
        go(split, tmp_path / "other")


def test_killed_with_sigkill_it_goes_on_and_ends_byte_by_byte_the_same(split: Path, tmp_path: Path) -> None:
    def run(out: str, *driver: str) -> subprocess.CompletedProcess[str]:
        arguments = ["evaluate", "--reasoner", "truth", "--data", str(split), "--out", str(tmp_path / out)]
        arguments += [f"--segmenter={name}" for name in NAMES] + ["--batch=2"]
        return subprocess.run([sys.executable, *driver, *arguments], capture_output=True, text=True, timeout=240)

    killing = (
        "import os, signal, sys; from medreasoner_monai.evaluation import scoring\n"
        "score = scoring.evaluate_batch; done = []\n"
        "def die_at_third(*a, **k):\n"
        "    done.append(1)\n"
        "    return score(*a, **k) if len(done) < 3 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "scoring.evaluate_batch = die_at_third\n"
        "from medreasoner_monai.cli.app import main; main()"
    )
    assert run("whole", "-m", "medreasoner_monai").returncode == 0
    assert run("killed", "-c", killing).returncode == -signal.SIGKILL
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "killed" / "shards").iterdir()}
    assert len(kept) == 2 and not (tmp_path / "killed" / "metrics.json").exists()
    done = run("killed", "-m", "medreasoner_monai")
    assert done.returncode == 0, done.stderr
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "killed" / "shards").iterdir()}
    assert kept.items() <= after.items(), "a finished shard was made twice"
    for name in ("metrics.json", "samples.parquet"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_comparison_is_paired_and_refuses_other_data(split: Path, tmp_path: Path) -> None:
    truth, middle = go(split, tmp_path / "t"), go(split, tmp_path / "m", CentreBox())
    by_hand = np.mean([r.box_iou for r in middle.records]) - 1
    assert paired_differences(truth, middle)["box_iou"]["difference"] == pytest.approx(by_hand, abs=1e-5)
    write_split(tmp_path / "other.parquet", [sample(n) for n in range(1, 10)])
    other = go(tmp_path / "other.parquet", tmp_path / "o")
    with pytest.raises(InputError, match="different data"):
        paired_differences(truth, other)


def test_groups_that_fell_under_the_floor_are_named(split: Path, tmp_path: Path) -> None:
    truth, middle = go(split, tmp_path / "t"), go(split, tmp_path / "m", CentreBox())
    fallen = losses(truth.records, middle.records, 0.01, resamples=100)
    assert {(g.kind, g.name) for g in fallen} >= {("category", "liver"), ("category", "spleen"), ("modality", "CT")}
    assert losses(truth.records, middle.records, 1.0, resamples=100) == []
    worse = [replace(r, more={**r.more, "hd95/box/both": 9.0}) for r in truth.records]
    assert {g.name for g in losses(truth.records, worse, 1.0, measure="hd95/box/both", resamples=100)} >= {"CT"}
    assert losses(worse, truth.records, 1.0, measure="hd95/box/both", resamples=100) == [], "a distance is better small"
    with pytest.raises(InputError, match="box_iou"):
        losses(truth.records, middle.records, 0.1, measure="iou")


def test_what_is_no_evaluation_or_reasoner_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished evaluation"):
        read_evaluation(tmp_path)
    with pytest.raises(InputError, match="centre-box"):
        build_answerer("centrebox")
    with pytest.raises(InputError, match="--model"):
        build_answerer("http://127.0.0.1:9/v1")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(InputError, match="not a Parquet file"):
        Data.open(tmp_path / "x.parquet")


def test_the_commands(split: Path, tmp_path: Path) -> None:
    def call(*arguments: str) -> object:
        chosen = ["--segmenter", "classical"] if arguments[0] == "evaluate" else []
        return CliRunner().invoke(app, [*arguments, *chosen])

    for who in ("truth", "centre-box"):
        done = call("evaluate", "--reasoner", who, "--data", str(split), "--out", str(tmp_path / who))
        assert done.exit_code == 0, done.output  # type: ignore[attr-defined]
    half = call("evaluate", "--reasoner", "truth", "--data", str(split), "--out", str(tmp_path / "h"), "--part", "2/2")
    assert half.exit_code == 0  # type: ignore[attr-defined]
    assert not (tmp_path / "h" / "metrics.json").exists()

    folders = [str(tmp_path / "truth"), str(tmp_path / "centre-box")]
    same = call("compare", *folders, "--json")
    assert json.loads(same.stdout)["differences"]["box_iou"]["difference"] < 0  # type: ignore[attr-defined]
    assert call("compare", *folders, "--floor", "0.05").exit_code == 1  # type: ignore[attr-defined]
    assert call("leaderboard", *folders, "--out", str(tmp_path / "l.html")).exit_code == 0  # type: ignore[attr-defined]
    assert "published" in (tmp_path / "l.html").read_text().lower()


def test_the_leaderboard_draws_what_confidence_is_worth(split: Path, tmp_path: Path) -> None:
    sure = go(split, tmp_path / "t")
    records = [replace(r, confidence=0.1 * n) for n, r in enumerate(sure.records)]
    unsure = replace(sure, metrics={**sure.metrics, **summarise(records, resamples=100)})
    write_leaderboard([unsure], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "Box IoU over confidence" in page


def test_the_leaderboard_keeps_data_sets_apart_and_the_best_first(split: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "other.parquet", [sample(n) for n in range(1, 10)])
    runs = [
        go(split, tmp_path / "m", CentreBox()),
        go(split, tmp_path / "t"),
        go(tmp_path / "other.parquet", tmp_path / "o"),
    ]
    first, second = boards(runs)
    assert [r.reasoner for r in first.rows] == ["centre-box", "truth"][::-1]
    assert len(second.rows) == 1
    write_leaderboard(runs, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "32.42" in page
    assert "not run here" in page


def test_a_segmenter_is_named_with_its_options() -> None:
    with pytest.raises(InputError, match="option=value"):
        segmenters(["ellipse:large"])
    with pytest.raises(InputError, match="has no option 'size'"):
        segmenters(["ellipse:size=3"])
    with pytest.raises(InputError, match="2 segmenters are called 'ellipse'"):
        segmenters(["ellipse", "ellipse"])
    assert list(segmenters(["ellipse", "again=ellipse"])) == ["ellipse", "again"]
    with pytest.raises(InputError, match="LABEL=NAME"):
        segmenters(["=ellipse"])


def test_a_folder_of_sets_is_asked_by_rule_and_partly_in_vain(tmp_path: Path) -> None:
    for name, modality, site, target in (("a", "CT", "abdomen", "liver"), ("b", "fundus", "retinal", "vessel")):
        for kind in ("images", "masks"):
            (tmp_path / "sets" / name / kind).mkdir(parents=True)
        for number in range(12):
            one = sample(number)
            stem = f"{name}-{number}_{modality}_{site}"
            Image.fromarray(one.image).save(tmp_path / "sets" / name / "images" / f"{stem}.png")
            Image.fromarray(one.mask).save(tmp_path / "sets" / name / "masks" / f"{stem}_{target}.png")
    given = ["--data", str(tmp_path / "sets"), "--segmenter", "box", "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(app, ["evaluate", "--reasoner", "truth", *given])
    assert said.exit_code == 0, said.output
    records = read_records(tmp_path / "out" / "samples.parquet")
    present = [r for r in records if r.present]
    assert len(present) == 24 and {r.category for r in present} == {"liver", "vessel"}
    assert len(records) > 24, "some are asked for in pictures of the other kind"
    assert not any(r.category in r.question.lower() for r in records)
