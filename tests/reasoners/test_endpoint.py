"""A model behind an HTTP endpoint, asked for real: what is sent, and what is made of the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.reasoners.chat import Patience
from medreasoner_monai.reasoners.endpoint import EndpointReasoner, Resize
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import template
from tests.reasoners.chat_server import Reply, Request, completion, serve

TINY = Resize(min_pixels=4 * 28 * 28, max_pixels=112 * 112)
ANSWER = '<think>{}</think><answer>{{"bbox": [28, 14, 56, 42], "points_1": [30, 20], "points_2": [50, 40]}}</answer>'
NOWHERE = "http://127.0.0.1:9/v1"

pytestmark = pytest.mark.usefixtures("no_proxy")


def picture(rows: int = 40, cols: int = 60, *rest: int) -> Any:
    return np.random.default_rng(rows * cols).integers(0, 256, (rows, cols, *rest), dtype=np.uint8)


def table(rows: Mapping[str, str]) -> Callable[[Request, int], Reply]:
    return lambda request, _: completion(rows[request.question])


def test_answers_are_in_the_stored_frame_and_in_order() -> None:
    rows = {"first?": ANSWER.format("one"), "second?": ANSWER.format("two")}
    with serve(table(rows)) as server:
        reasoner = EndpointReasoner(server.url, "tiny", resize=TINY)
        one, two = reasoner.answer([picture(), picture(28, 56)], ["first?", " second? "])

    assert isinstance(one.answer, Grounding) and isinstance(two.answer, Grounding)
    assert (one.answer.trace, two.answer.trace) == ("one", "two")
    assert one.seen == Frame(84, 56, "model") and one.answer.box.frame == Frame(60, 40)
    assert one.answer.box.xyxy == pytest.approx((28 * 60 / 84, 10, 40, 30))
    assert one.text == rows["first?"]
    # 56 x 28 has fewer than the least 3136 pixels.
    assert two.seen == Frame(84, 56, "model") and two.answer.box.frame == Frame(56, 28)


def test_the_request_is_the_template_with_the_picture_first() -> None:
    with serve(table({"where?": "x"})) as server:
        EndpointReasoner(server.url + "/", "tiny", resize=TINY, max_tokens=77).answer([picture()], ["where?"])

    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert (request.body["model"], request.body["temperature"], request.body["max_tokens"]) == ("tiny", 0, 77)
    system, user = request.body["messages"]
    assert system == {"role": "system", "content": template("think").system}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert request.picture.size == (84, 56)
    assert "Authorization" not in request.headers


def test_without_a_rule_the_picture_is_sent_as_stored() -> None:
    text = '{"bbox": [250, 250, 500, 1000], "points_1": [300, 500], "points_2": [400, 500]}'
    grey, colour = picture(10, 200), picture(30, 20, 3)
    with serve(table({"grey?": text, "colour?": text})) as server:
        reasoner = EndpointReasoner(server.url, "other", reader="lenient-1000", resize=None)
        one, _ = reasoner.answer([grey, colour], ["grey?", "colour?"])

    sent = {r.question: np.asarray(r.picture) for r in server.requests}
    np.testing.assert_array_equal(sent["grey?"], np.repeat(grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(sent["colour?"], colour)
    assert isinstance(one.answer, Grounding)
    assert one.answer.box.xyxy == pytest.approx((50, 2.5, 100, 10))
    assert one.seen == Frame(200, 10, "model")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, Reason.EMPTY),
        ("", Reason.EMPTY),
        ("<think>It is the liver, which", Reason.NO_ANSWER),
        (ANSWER.format(" "), Reason.EMPTY_THINK),
        ("\ud800", Reason.NO_ANSWER),
    ],
)
def test_a_completion_without_an_answer_is_no_error(text: str | None, reason: Reason) -> None:
    with serve(lambda *_: completion(text, finish="length")) as server:
        (reading,) = EndpointReasoner(server.url, "tiny").answer([picture()], ["?"])

    assert isinstance(reading.answer, NoAnswer) and reading.answer.reason is reason
    reading.text.encode()


def test_a_template_without_thinking_is_read_without() -> None:
    text = ANSWER.format("").replace("<think></think>", "")
    with serve(lambda *_: completion(text)) as server:
        (reading,) = EndpointReasoner(server.url, "tiny", prompt="direct").answer([picture()], ["?"])

    assert isinstance(reading.answer, Grounding) and reading.answer.trace is None


def test_text_in_parts_is_put_together() -> None:
    parts: Any = [{"type": "text", "text": "<think>"}, {"type": "other"}, {"type": "text", "text": "a"}]
    with serve(lambda *_: completion(parts)) as server:
        (reading,) = EndpointReasoner(server.url, "tiny").answer([picture()], ["?"])

    assert reading.text == "<think>a"


@pytest.mark.parametrize("at_once", [4, 1, 3])
def test_several_answers_are_drawn_also_where_the_service_gives_fewer_at_once(at_once: int) -> None:
    def reply(request: Request, before: int) -> Reply:
        first, count = request.body["seed"], min(at_once, request.body["n"])
        one = completion("").body["choices"][0]
        drawn = [{**one, "message": {"role": "assistant", "content": f"{first + i}"}} for i in range(count)]
        return Reply(200, {**completion("").body, "choices": drawn})

    with serve(reply) as server:
        reasoner = EndpointReasoner(server.url, "tiny", resize=TINY, in_flight=1, seeded=True)
        drawn = reasoner.sample([picture(), picture()], ["a?", "b?"], 4, temperature=0.9, seed=7)

    assert [[r.text for r in several] for several in drawn] == [["7", "8", "9", "10"]] * 2
    assert {r.body["temperature"] for r in server.requests} == {0.9}
    assert len(server.requests) == 2 * -(-4 // at_once)


def test_no_seed_is_sent_unless_asked_for_since_it_kills_some_servers() -> None:
    def reply(request: Request, before: int) -> Reply:
        # What vLLM's engine on a CPU does with a seed at a temperature above 0, seen from outside.
        if "seed" in request.body:
            return Reply(500, {"error": {"message": "EngineDeadError"}})
        return completion("x")

    with serve(reply) as server:
        reasoner = EndpointReasoner(server.url, "tiny", resize=TINY)
        drawn = reasoner.sample([picture()], ["a?"], 3, temperature=0.9, seed=7)

    assert [[r.text for r in several] for several in drawn] == [["x"] * 3]
    assert [r.body["n"] for r in server.requests] == [3, 2, 1], "as many as are missing, until there are as many"
    assert "seed" not in reasoner.capabilities
    assert "seed" in EndpointReasoner(NOWHERE, "tiny", seeded=True).capabilities


def test_no_more_requests_than_allowed_are_in_flight_and_they_do_run_together() -> None:
    pair, lock, running, most = threading.Barrier(2, timeout=60), threading.Lock(), [0], [0]

    def reply(request: Request, before: int) -> Reply:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        pair.wait()  # breaks unless two are here at once
        with lock:
            running[0] -= 1
        return completion(request.question)

    questions = [f"number {n}?" for n in range(6)]
    with serve(reply) as server:
        readings = EndpointReasoner(server.url, "tiny", in_flight=2).answer([picture()] * 6, questions)

    assert [r.text for r in readings] == questions
    assert most == [2]


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="no prompt template 'thick'. Did you mean 'think'"):
        EndpointReasoner(NOWHERE, "tiny", prompt="thick")
    with pytest.raises(ConfigError, match="no answer reader 'leniant'. Did you mean 'lenient'"):
        EndpointReasoner(NOWHERE, "tiny", reader="leniant")
    with pytest.raises(InputError, match="at least 1, got 0 and 4"):
        EndpointReasoner(NOWHERE, "tiny", max_tokens=0)
    with pytest.raises(InputError, match="a timeout above 0"):
        Patience(timeout=0)


def test_nothing_is_sent_when_any_input_is_wrong() -> None:
    with serve(lambda *_: completion("x")) as server:
        reasoner = EndpointReasoner(server.url, "tiny")
        with pytest.raises(InputError, match="the question is empty"):
            reasoner.answer([picture()] * 2, ["good?", " "])
        with pytest.raises(InputError, match="2 images but 1 questions"):
            reasoner.answer([picture()] * 2, ["good?"])
        with pytest.raises(InputError, match="an image is uint8"):
            reasoner.answer([picture(), np.zeros((4, 4))], ["good?", "good?"])  # type: ignore[list-item]
        with pytest.raises(InputError, match="an image of 900 x 4 cannot be shown"):
            reasoner.answer([picture(), picture(4, 900)], ["good?", "good?"])
        assert reasoner.answer([], []) == []

    assert server.requests == []


def test_the_digest_follows_what_decides_the_answers() -> None:
    def digest(url: str = NOWHERE, model: str = "tiny", **options: Any) -> str:
        return EndpointReasoner(url, model, **options).digest

    same = {digest(), digest(NOWHERE + "/"), digest(NOWHERE.replace("http", "https")), digest(in_flight=9)}
    other = {
        digest("http://127.0.0.1:10/v1"),
        digest("http://127.0.0.1:9/v2"),
        digest(model="large"),
        digest(prompt="brief"),
        digest(reader="lenient"),
        digest(resize=None),
        digest(resize=TINY),
        digest(max_tokens=9),
    }
    assert len(same) == 1 and len(other | same) == 9
    assert EndpointReasoner(NOWHERE, "tiny").prompt_digest == template("think").digest


def test_a_rule_that_no_picture_can_follow_is_refused() -> None:
    with pytest.raises(ConfigError, match="give min_pixels up to max_pixels"):
        Resize(min_pixels=200_000, max_pixels=100_000)
    with pytest.raises(InputError, match="finds no size within .* set the limits further apart"):
        Resize(min_pixels=10_000, max_pixels=10_000).frame(Frame(50, 40))
