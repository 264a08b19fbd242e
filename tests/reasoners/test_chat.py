"""A service in trouble: when it is asked again, when it is given up, and what the user is told."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

from medreasoner_monai.errors import EndpointError, InputError
from medreasoner_monai.reasoners.chat import Patience
from medreasoner_monai.reasoners.endpoint import EndpointReasoner
from tests.reasoners.chat_server import Reply, Request, completion, serve, trouble

NOWHERE = "http://127.0.0.1:9/v1"
PICTURE = np.zeros((56, 56), dtype=np.uint8)

pytestmark = pytest.mark.usefixtures("no_proxy")


class Waits:
    """Notes how long it was to wait, and does not."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, stop: threading.Event, seconds: float) -> bool:
        self.seconds.append(seconds)
        return stop.is_set()


def test_a_server_that_starts_up_is_asked_again() -> None:
    waits = Waits()
    with serve(lambda _, before: trouble(503) if before < 2 else completion("here")) as server:
        (reading,) = EndpointReasoner(server.url, "tiny", wait=waits).answer([PICTURE], ["?"])

    assert reading.text == "here"
    assert waits.seconds == [1, 2]
    assert server.requests[0].body == server.requests[2].body


@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("0", 1), ("2.5", 2.5), ("soon", 1)])
def test_a_server_that_names_a_pause_gets_it(asked: str, waited: float) -> None:
    waits = Waits()
    with serve(lambda _, before: completion("x") if before else trouble(429, Retry_After=asked)) as server:
        EndpointReasoner(server.url, "tiny", wait=waits).answer([PICTURE], ["?"])

    assert waits.seconds == [waited]


def test_a_pause_may_be_named_as_a_date() -> None:
    waits = Waits()
    dates = ["Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2515 07:28:00 GMT"]
    with (
        serve(lambda _, before: trouble(429, Retry_After=dates[before])) as server,
        pytest.raises(EndpointError, match="status 429 and the wish to be left alone"),
    ):
        EndpointReasoner(server.url, "tiny", wait=waits).answer([PICTURE], ["?"])

    assert waits.seconds == [1]
    assert len(server.requests) == 2


def test_a_server_that_stays_broken_is_given_up() -> None:
    waits, patience = Waits(), Patience(tries=4, first_pause=3, longest_pause=5)
    with serve(lambda *_: trouble(500)) as server, pytest.raises(EndpointError) as caught:
        EndpointReasoner(server.url, "tiny", patience=patience, wait=waits).answer([PICTURE], ["?"])

    assert f"{server.url} stays away: status 500 at try 4 of 4" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert waits.seconds == [3, 5, 5]
    assert caught.value.exit_code == 1


def test_a_server_that_hangs_is_left() -> None:
    end, waits = threading.Event(), Waits()

    def hang(request: Request, before: int) -> Reply:
        end.wait(60)
        return completion("too late")

    patience = Patience(timeout=0.2, tries=2)
    with serve(hang) as server:
        try:
            with pytest.raises(EndpointError, match="no answer within 0.2 s at try 2 of 2"):
                EndpointReasoner(server.url, "tiny", patience=patience, wait=waits).answer([PICTURE], ["?"])
        finally:
            end.set()

    assert waits.seconds == [1]


def test_a_server_that_is_not_there_is_said_to_be_away() -> None:
    with serve(lambda *_: completion("x")) as server:
        url = server.url
    with pytest.raises(EndpointError, match=r"stays away: no connection .* at try 3 of 3; see whether it is running"):
        EndpointReasoner(url, "tiny", patience=Patience(tries=3), wait=Waits()).answer([PICTURE], ["?"])


def test_one_failure_ends_the_others() -> None:
    def reply(request: Request, before: int) -> Reply:
        return trouble(401) if request.question == "bad?" else trouble(503)

    with serve(reply) as server, pytest.raises(InputError, match="wants a key"):
        # Real pauses of an hour: only their end by the failure lets this test end.
        EndpointReasoner(
            server.url, "tiny", in_flight=2, patience=Patience(first_pause=3600, longest_pause=3600)
        ).answer([PICTURE] * 9, ["good?", "bad?", *["later?"] * 7])

    assert len(server.requests) < 9


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", {"choices": []}, [], {"choices": [{"message": {"content": 3}}]}]
)
def test_what_is_no_completion_is_refused(body: Any) -> None:
    with (
        serve(lambda *_: Reply(200, body)) as server,
        pytest.raises(EndpointError, match="not a chat completion; is it an OpenAI-compatible service"),
    ):
        EndpointReasoner(server.url, "tiny").answer([PICTURE], ["?"])


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (trouble(401), r"wants a key \(401\): name the environment variable"),
        (trouble(404), r"has no model 'tony'\. Did you mean 'tiny'\? Known: tiny, large"),
        (trouble(400, "model_not_found"), r"has no model 'tony'"),
        (trouble(400, "BadRequestError"), r"does not take the request \(400, BadRequestError\); does 'tony' look at"),
        (trouble(400, "a secret in words"), r"does not take the request \(400\); "),
        (Reply(413, b""), r"does not take the request \(413\); "),
        (trouble(307, Location="http://elsewhere.invalid/"), r"redirects \(307\); give the address"),
    ],
)
def test_what_the_user_can_put_right_is_said_at_once(reply: Reply, message: str) -> None:
    with (
        serve(lambda *_: reply, models=("tiny", "large")) as server,
        pytest.raises(InputError, match=message) as caught,
    ):
        EndpointReasoner(server.url, "tony").answer([PICTURE], ["?"])

    assert str(caught.value).startswith(server.url) and "secret" not in str(caught.value)
    assert len(server.requests) == 1


def test_an_address_without_completions_is_told_from_an_unknown_model() -> None:
    with (
        serve(lambda *_: trouble(404)) as server,
        pytest.raises(InputError, match=r"check .*address, which usually ends"),
    ):
        EndpointReasoner(server.url, "tiny").answer([PICTURE], ["?"])


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("THE_KEY", "sesame\n")
    caplog.set_level(logging.DEBUG)
    with serve(lambda _, before: trouble(403) if before else completion("x")) as server:
        reasoner = EndpointReasoner(server.url, "tiny", key_variable="THE_KEY")
        reasoner.answer([PICTURE], ["?"])
        with pytest.raises(InputError, match=r"refuses the key in THE_KEY \(403\)") as caught:
            reasoner.answer([PICTURE], ["?"])
        bare = EndpointReasoner(server.url, "tiny")

    assert server.requests[0].headers["Authorization"] == "Bearer sesame"
    assert not any("sesame" in text for text in (str(caught.value), caplog.text, repr(vars(reasoner))))
    assert reasoner.digest == bare.digest


@pytest.mark.parametrize(
    ("value", "message"), [(None, "KEY is not set or empty"), ("a\u00e9", "KEY holds is not a key")]
)
def test_a_key_that_cannot_be_sent_is_refused(monkeypatch: pytest.MonkeyPatch, value: str | None, message: str) -> None:
    monkeypatch.delenv("KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("KEY", value)
    with pytest.raises(InputError, match=message):
        EndpointReasoner(NOWHERE, "tiny", key_variable="KEY")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000/v1", "is not the address of an endpoint; it looks like"),
        ("ftp://host/v1", "is not the address of an endpoint; it looks like"),
        ("http://host:port/v1", "address cannot be read"),
        ("http://host:80000/v1", "is not the address of an endpoint; it looks like"),
        ("http://me:sesame@host/v1", "http://host/v1 was given with a user name"),
        ("http://host/v1?key=sesame", "http://host/v1 was given with a user name, password, query"),
    ],
)
def test_an_address_that_is_none_or_tells_too_much_is_refused(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        EndpointReasoner(url, "tiny")
    assert "sesame" not in str(caught.value)
