"""The review server by its interface: who is let in, what is told to whom, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest

from medreasoner_monai.data.schema import decode_image, decode_mask, write_split
from medreasoner_monai.review.board import Plan
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.order import Gold
from medreasoner_monai.review.runs import from_runs, to_runs
from tests.review.served import Running, dataset, serving
from tests.samples import sample

PLAN = Plan(("ann", "bob"), ("cyd",), readings=2, gold=Gold({"s4": {"mask": "reject"}}, 0.2))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("review") / "dataset")


@pytest.fixture
def running(data: Path, tmp_path: Path) -> Iterator[Running]:
    with serving(data, tmp_path / "reviews.sqlite", PLAN) as made:
        yield made


def verdict(client: httpx.Client, sample: str, field: str, verdict: str, **more: Any) -> httpx.Response:
    said = {"sample": sample, "field": field, "verdict": verdict, "client": uuid4().hex, **more}
    return client.post("/api/verdict", json=said)


# ---- who is let in


def test_only_who_has_an_address_is_let_in(running: Running) -> None:
    stranger = httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False)
    for path in ("/api/session", "/api/queue", "/api/next", "/api/sample?id=s0", "/api/picture?id=s0"):
        assert stranger.get(path).status_code == 401, path
    assert stranger.get("/open/guessed").status_code == 403
    assert running.client("ann").get("/api/session").json()["reviewer"] == "ann"
    assert running.client("cyd").get("/api/session").json()["role"] == "adjudicator"


def test_the_token_gives_way_to_a_cookie_that_no_other_site_can_use(running: Running) -> None:
    answer = httpx.get(running.addresses["ann"], trust_env=False)
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert running.addresses["ann"].rsplit("/", 1)[1].lower() not in cookie


def test_another_host_name_is_refused(running: Running) -> None:
    client = running.client("ann")
    assert client.get("/api/session", headers={"host": "attacker.example"}).status_code == 421
    assert client.get("/api/session", headers={"host": f"localhost:{running.port}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_verdict_sent_by_another_page_is_refused(running: Running, headers: dict[str, str]) -> None:
    client = running.client("ann")
    said = {"sample": "s0", "field": "mask", "verdict": "accept", "client": uuid4().hex}
    assert client.post("/api/verdict", json=said, headers=headers).status_code == 403
    del client.headers["x-review"]
    assert client.post("/api/verdict", json=said).status_code == 403
    assert list(running.board.store.events()) == []


def test_every_answer_forbids_what_the_page_does_not_need(running: Running) -> None:
    client = running.client("ann")
    for path in ("/", "/static/app.js", "/api/session", "/nothing"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
    assert client.get("/static/../server.py").status_code == 404
    assert client.get("/static/%2e%2e/server.py").status_code == 404


def test_what_is_too_large_is_refused_before_it_is_read(running: Running) -> None:
    client = running.client("ann")
    answer = client.post("/api/verdict", content=b"x" * (9 * 2**20))
    assert answer.status_code == 413


# ---- what is told


def test_the_picture_and_the_mask_are_those_of_the_data_set(running: Running, data: Path) -> None:
    client = running.client("ann")
    for entry in ReviewedData(data).entries:
        one = ReviewedData(data).get(entry.id)
        assert one is not None
        shown = client.get("/api/sample", params={"id": entry.id}).json()
        assert (shown["columns"], shown["rows"]) == (one.image.shape[1], one.image.shape[0])
        assert (from_runs(shown["parts"]["mask"]["runs"], one.mask.shape) == one.mask).all()
        assert shown["parts"]["question"]["text"] == one.question and shown["present"] == one.present
        picture = client.get("/api/picture", params={"id": entry.id}).content
        assert (decode_image(picture, "picture") == one.image).all()
        assert ("trace" in shown["parts"]) == bool(one.trace)


def test_readers_are_blinded_to_each_other_and_to_gold(running: Running) -> None:
    ann, bob = running.client("ann"), running.client("bob")
    before = bob.get("/api/sample", params={"id": "s0"}).text
    assert verdict(ann, "s0", "mask", "reject", comment="wrong organ").status_code == 200
    assert bob.get("/api/sample", params={"id": "s0"}).text == before
    for path in ("/api/sample?id=s4", "/api/queue", "/api/session"):
        assert "gold" not in bob.get(path).text
    shown, golden = (bob.get("/api/sample", params={"id": name}).json() for name in ("s0", "s4"))
    assert set(shown) == set(golden)


def test_an_adjudicator_sees_what_is_disputed_alone(running: Running) -> None:
    ann, bob, cyd = (running.client(n) for n in ("ann", "bob", "cyd"))
    for field in ("question", "mask", "trace"):
        assert verdict(ann, "s0", field, "accept").is_success
        assert verdict(bob, "s0", field, "reject" if field == "mask" else "accept").is_success
        assert verdict(ann, "s5", field, "accept").is_success
    assert cyd.get("/api/queue").json()["samples"] == ["s0"]
    assert cyd.get("/api/sample", params={"id": "s5"}).status_code == 404
    shown = cyd.get("/api/sample", params={"id": "s0"}).json()
    assert shown["disputed"] == ["mask"]
    assert [r["mask"]["verdict"] for r in shown["readings"]] == ["accept", "reject"]
    assert "ann" not in str(shown["readings"]) and "bob" not in str(shown["readings"])
    assert verdict(cyd, "s0", "mask", "reject").is_success
    assert running.board.outcomes("s0")["mask"].event.reviewer == "cyd"  # type: ignore[union-attr]
    assert cyd.get("/api/next").json() == {"sample": None}


def test_each_reader_is_given_what_still_wants_readings(running: Running) -> None:
    ann, bob = running.client("ann"), running.client("bob")
    names = bob.get("/api/queue").json()["samples"]
    assert sorted(names) == [f"s{n}" for n in range(8)], "gold items stand among the others"
    first = bob.get("/api/next").json()["sample"]
    for field in bob.get("/api/sample", params={"id": first}).json()["parts"]:
        assert verdict(bob, first, field, "accept").is_success
    assert bob.get("/api/next").json()["sample"] == names[1]
    assert bob.get("/api/next", params={"after": names[-1]}).json()["sample"] == names[1], "once around"
    assert ann.get("/api/next").json()["sample"] == ann.get("/api/queue").json()["samples"][0]


def test_one_reading_each_sends_two_readers_to_different_samples(data: Path, tmp_path: Path) -> None:
    with serving(data, tmp_path / "r.sqlite", Plan(("ann", "bob"))) as running:
        ann, bob = running.client("ann"), running.client("bob")
        opened = ann.get("/api/next").json()["sample"]
        ann.get("/api/sample", params={"id": opened})
        assert (opened, bob.get("/api/next").json()["sample"]) == ("s0", "s1")


# ---- verdicts


def test_an_edited_mask_is_stored_as_it_was_drawn(running: Running) -> None:
    client = running.client("ann")
    mask = np.zeros((40, 60), dtype=bool)
    mask[3:9, 7:30] = True
    answer = verdict(client, "s1", "mask", "edit", runs=to_runs(mask))
    assert answer.status_code == 200
    assert (decode_mask(running.board.store.value(answer.json()["seq"]), "mask") == mask).all()
    shown = client.get("/api/sample", params={"id": "s1"}).json()
    assert shown["verdicts"]["mask"]["runs"] == to_runs(mask)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"field": "mask", "verdict": "edit", "runs": [2400]}, "the mask marks nothing; reject it"),
        ({"field": "mask", "verdict": "edit", "runs": [5, 5]}, "do not fill 40 x 60"),
        ({"field": "mask", "verdict": "edit", "runs": [-1, 2401]}, "do not fill 40 x 60"),
        ({"field": "question", "verdict": "edit", "text": "  "}, "the question is empty"),
        ({"field": "question", "verdict": "edit", "text": "Where <answer>?"}, "a tag"),
        ({"field": "trace", "verdict": "edit", "text": "<think> so"}, "the text holds"),
        ({"field": "mask", "verdict": "withdraw"}, "there is no verdict to withdraw"),
    ],
)
def test_a_correction_that_cannot_stand_is_refused(running: Running, more: dict[str, Any], said: str) -> None:
    answer = verdict(running.client("ann"), "s0", **more)
    assert answer.status_code == 422 and said in answer.json()["error"]
    assert list(running.board.store.events()) == []


def test_a_sample_without_a_trace_has_none_to_judge(running: Running) -> None:
    answer = verdict(running.client("ann"), "s2", "trace", "accept")
    assert answer.status_code == 422 and "sample s2 has no trace to judge" in answer.json()["error"]


def test_undo_takes_back_the_latest_of_ones_own(running: Running) -> None:
    ann, bob = running.client("ann"), running.client("bob")
    verdict(ann, "s0", "mask", "accept")
    verdict(ann, "s1", "mask", "reject")
    verdict(bob, "s5", "mask", "reject")
    undone = ann.post("/api/undo", params={"client": uuid4().hex}).json()
    assert (undone["sample"], undone["verdict"]) == ("s1", "withdraw")
    assert running.board.verdicts("s1", "ann") == {} and running.board.verdicts("s5", "bob")
    assert ann.post("/api/undo", params={"client": uuid4().hex}).json()["sample"] == "s0"
    assert ann.post("/api/undo", params={"client": uuid4().hex}).json() == {"sample": None}


def test_two_readers_saving_at_once_are_both_kept(running: Running) -> None:
    clients = {name: running.client(name) for name in ("ann", "bob")}

    def one(number: int) -> int:
        name = "ann" if number % 2 else "bob"
        return verdict(clients[name], f"s{number % 4}", "question", "accept", comment=str(number)).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(32))) == {200}
    events = list(running.board.store.events())
    assert sorted(int(e.comment) for e in events) == list(range(32))
    assert {e.reviewer for e in events} == {"ann", "bob"} and all(e.at for e in events)


def test_a_box_is_segmented(running: Running) -> None:
    client, one = running.client("ann"), sample(0)
    assert one.box is not None
    runs = client.post("/api/segment", params={"id": "s0"}, json={"box": one.box.xyxy}).json()["runs"]
    mask = from_runs(runs, (40, 60))
    assert 2 * (mask & one.mask).sum() / (mask.sum() + one.mask.sum()) > 0.8
    for box in ([0, 0, 61, 10], [5, 5, 5, 9]):
        assert client.post("/api/segment", params={"id": "s0"}, json={"box": box}).status_code == 422


# ---- resuming, and other data sets


def test_another_data_set_is_refused_and_a_grown_one_is_not(running: Running, tmp_path: Path) -> None:
    verdict(running.client("ann"), "s0", "mask", "accept")
    store = running.board.store
    write_split(tmp_path / "grown.parquet", [sample(n) for n in range(10)])
    ReviewedData(tmp_path / "grown.parquet").bind(store)
    write_split(tmp_path / "other.parquet", [sample(n) for n in range(1, 10)])
    with pytest.raises(Exception, match="its sample s0 is not in it"):
        ReviewedData(tmp_path / "other.parquet").bind(store)
    write_split(tmp_path / "changed.parquet", [sample(0, image=sample(0).image // 2)])
    with pytest.raises(Exception, match="its sample s0 has another picture there"):
        ReviewedData(tmp_path / "changed.parquet").bind(store)
