"""The review store: nothing is overwritten, two may write at once, a kill leaves it whole."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medreasoner_monai.data.review.events import Event, Heads, Judgement
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.errors import InputError

ROOT = Path(__file__).parents[3]


def judged(verdict: str = "accept", number: int = 0, **changes: object) -> Judgement:
    value = b"x" if verdict == "edit" else None
    made = Judgement("ann", "s1", "p1", "mask", "m1", verdict, f"c{number}", value)  # type: ignore[arg-type]
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite", create=True)


def test_each_verdict_is_kept_and_the_latest_holds(store: ReviewStore) -> None:
    store.add(judged("accept", 1))
    store.add(judged("reject", 2, comment="the spleen"))
    events = list(store.events())
    assert [(e.seq, e.verdict, e.supersedes) for e in events] == [(1, "accept", None), (2, "reject", 1)]
    (head,) = Heads(events).of("s1")
    assert head.verdict == "reject" and head.comment == "the spleen" and head.at.endswith("+00:00")


def test_an_edit_keeps_its_value(store: ReviewStore) -> None:
    event = store.add(judged("edit", 1, value=b"Which organ stores bile?"))
    assert store.value(event.seq) == b"Which organ stores bile?"
    with pytest.raises(InputError, match="event 9 has no value"):
        store.value(9)


def test_sqlite_itself_refuses_to_change_or_delete_a_verdict(store: ReviewStore) -> None:
    store.add(judged())
    with sqlite3.connect(store.path) as db:
        with pytest.raises(sqlite3.IntegrityError, match="verdicts are never changed"):
            db.execute("UPDATE events SET verdict = 'reject'")
        with pytest.raises(sqlite3.IntegrityError, match="verdicts are never deleted"):
            db.execute("DELETE FROM events")


def test_what_is_sent_twice_is_stored_once(store: ReviewStore) -> None:
    assert store.add(judged("accept", 1)) == store.add(judged("accept", 1))
    assert len(list(store.events())) == 1


def test_nothing_to_withdraw_is_said(store: ReviewStore) -> None:
    with pytest.raises(InputError, match="sample s1, mask: there is no verdict to withdraw"):
        store.add(judged("withdraw"))


VERDICTS = st.lists(st.sampled_from(["accept", "reject", "edit", "withdraw"]), max_size=12)


@settings(max_examples=15)
@given(VERDICTS)
def test_withdrawing_is_undo(tmp_path_factory: pytest.TempPathFactory, verdicts: list[str]) -> None:
    store = ReviewStore(tmp_path_factory.mktemp("undo") / "r.sqlite", create=True)
    stack: list[str] = []  # what a person expects of undo
    for number, verdict in enumerate(verdicts):
        if verdict == "withdraw" and not stack:
            with pytest.raises(InputError):
                store.add(judged(verdict, number))
            continue
        store.add(judged(verdict, number))
        stack.pop() if verdict == "withdraw" else stack.append(verdict)
    holding = [e.verdict for e in Heads(store.events()).of("s1")]
    assert holding == stack[-1:]


def test_reviewers_who_save_at_once_are_all_kept(store: ReviewStore) -> None:
    def one(number: int) -> Event:
        reviewer = "ann" if number % 2 else "bob"
        return ReviewStore(store.path).add(judged("reject", number, reviewer=reviewer, sample=f"s{number % 5}"))

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(one, range(60)))
    assert sorted(e.seq for e in made) == list(range(1, 61))
    assert {(e.reviewer, e.sample) for e in store.events()} == {(e.reviewer, e.sample) for e in made}


WRITER = """
import sys
from pathlib import Path
from medreasoner_monai.data.review.events import Judgement
from medreasoner_monai.data.review.store import ReviewStore
store = ReviewStore(Path(sys.argv[1]))
for n in range(100000):
    store.add(Judgement("ann", f"s{n}", "p", "mask", "m", "edit", str(n), value=bytes(200_000)))
    print(n, flush=True)
"""


def test_a_kill_loses_nothing_that_was_confirmed(store: ReviewStore) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, store.path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None
    confirmed = [int(writer.stdout.readline()) for _ in range(5)]
    writer.send_signal(signal.SIGKILL)
    confirmed += [int(line) for line in writer.stdout.read().splitlines() if line.strip().isdigit()]
    writer.wait()
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    events = list(ReviewStore(store.path).events())
    assert {f"s{n}" for n in confirmed} <= {e.sample for e in events}
    assert all(len(store.value(e.seq)) == 200_000 for e in events)


def test_a_store_belongs_to_a_data_set(store: ReviewStore) -> None:
    store.bind("data set 1", {})
    store.add(judged())
    store.bind("data set 1", {})
    store.bind("data set 2, with the same picture", {"s1": "p1"})
    with pytest.raises(InputError, match="verdicts on another data set: its sample s1 is not in it; .*--reviews"):
        store.bind("data set 3", {})
    with pytest.raises(InputError, match="its sample s1 has another picture there"):
        store.bind("data set 4", {"s1": "p2"})


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; .medreasoner review serve. makes"):
        ReviewStore(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(InputError, match="not a review store"):
        ReviewStore(tmp_path / "text.sqlite", create=True)
    with sqlite3.connect(tmp_path / "other.sqlite") as db:
        db.execute("CREATE TABLE digests (name TEXT)")
    with pytest.raises(InputError, match="not a review store"):
        ReviewStore(tmp_path / "other.sqlite", create=True)
