"""`medreasoner review` and its commands."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.data.review.applied import contents_of, digest_of
from medreasoner_monai.data.review.events import Judgement, picture_digest
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.schema import read_split
from medreasoner_monai.errors import InputError
from tests.review.served import dataset, samples

_CLIENT = count()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set on which two readers have judged the first two samples, and disagree on one mask."""
    made = dataset(tmp_path / "dataset")
    store = ReviewStore(tmp_path / "dataset.reviews.sqlite", create=True)
    for one in samples()[:2]:
        for reviewer in ("ann", "bob"):
            for field, content in contents_of(one).items():
                verdict = "reject" if (one.id, reviewer, field) == ("s1", "bob", "mask") else "accept"
                picture, seen = picture_digest(one.image), digest_of(content)
                store.add(Judgement(reviewer, one.id, picture, field, seen, verdict, str(next(_CLIENT))))  # type: ignore[arg-type]
    return made


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_data_set_alone_is_served(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a data set"):
        run("review", tmp_path / "nowhere", "--reviewer", "ann")
    with pytest.raises(InputError, match="nowhere is not a data set"):
        run("review", "--reviewer", "ann", tmp_path / "nowhere")
    assert "serve" in run("review", "--help") and "status" in run("review", "--help")


def test_status_counts_and_compares(data: Path, tmp_path: Path) -> None:
    (tmp_path / "gold.json").write_text(json.dumps({"s1": {"mask": "reject"}}))
    facts = json.loads(run("review", "status", data, "--readings", 2, "--gold", tmp_path / "gold.json", "--json"))
    assert facts["states"]["mask"] == {"settled": 1, "disputed": 1, "open": 6}
    assert facts["states"]["trace"] == {"settled": 2, "disputed": 0, "open": 5}, "one sample has no trace"
    assert facts["agreement"]["mask"]["percent"]["value"] == 0.5
    assert facts["gold"] == {"ann": {"mask": {"right": 0, "of": 1}}, "bob": {"mask": {"right": 1, "of": 1}}}
    shown = run("review", "status", data, "--readings", 2)
    (mask,) = [line for line in shown.splitlines() if "mask  " in line and "│" in line]
    assert [cell.strip() for cell in mask.strip("│").split("│")][:5] == ["mask", "1", "1", "6", "2"]
    assert "nan" not in shown


def test_apply_writes_what_is_left(data: Path, tmp_path: Path) -> None:
    said = run("review", "apply", data, "--out", tmp_path / "new", "--require", "--readings", 2)
    assert "train.parquet: 1 kept, 5 set aside" in said and "test.parquet: 0 kept, 2 set aside" in said
    assert [s.id for s in read_split(tmp_path / "new/train.parquet")] == ["s0"]
    rejects = pq.read_table(tmp_path / "new/rejects.parquet").to_pylist()
    assert len(rejects) == 7 and {r["step"] for r in rejects} == {"review"}
    assert "reviewers disagree on its mask" in rejects[0]["reason"]
    assert sum(r["masks"] for r in rejects) == 6, "one target is absent"
    with pytest.raises(InputError, match="exists already"):
        run("review", "apply", data, "--out", tmp_path / "new")


def test_out_and_in(data: Path, tmp_path: Path) -> None:
    assert "8 samples written" in run("review", "export", data, "--out", tmp_path / "ls", "--format", "label-studio")
    store = tmp_path / "other.sqlite"
    file = tmp_path / "ls/tasks.json"
    said = run("review", "import", data, "--format", "label-studio", "--file", file, "--reviews", store)
    assert "12 verdicts on 2 samples added" in said
    with pytest.raises(InputError, match="--format is one of label-studio, cvat, found 'coco'"):
        run("review", "export", data, "--out", tmp_path / "x", "--format", "coco")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--order", "random"], "--order is one of id, disagreement, confidence"),
        (["--order", "confidence"], "--order confidence needs --evaluation"),
        (["--readings", "2"], "2 readings of each sample need as many readers"),
    ],
)
def test_what_cannot_be_served_is_said(data: Path, options: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run("review", data, "--reviewer", "ann", *options)
