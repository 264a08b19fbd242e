"""A lock in the order of asking."""

import threading
import time

import pytest

from medreasoner_monai.grounding.turns import Turns


def test_turns_are_granted_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns(), []

    def work(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    with turns:
        for thread in threads:
            thread.start()
            time.sleep(0.02)  # until it waits
    for thread in threads:
        thread.join(timeout=10)
    assert order == list(range(8))


def test_an_error_inside_hands_the_turn_on() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    with turns:
        pass


def test_who_is_interrupted_while_waiting_does_not_hold_up_those_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with turns, monkeypatch.context() as patch:
        patch.setattr(turns._changed, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt), turns:
            pass
    with turns:
        pass
