"""Progress as lines."""

from __future__ import annotations

import logging

import pytest

from medreasoner_monai.pipeline.progress import LogProgress, NoProgress, TerminalProgress, format_seconds, pick


def test_log_lines_are_spaced_but_the_last_step_is_always_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "medreasoner")
    watch = LogProgress("grpo", every=3600)
    for done in range(1, 4):
        watch.step(done, 3, reward=0.12345)
    watch.note("merged")
    watch.warn("odd")
    assert [r.getMessage() for r in caplog.records] == ["grpo: 3/3, reward 0.123", "grpo: merged", "grpo: odd"]
    assert [r.levelname for r in caplog.records] == ["INFO", "INFO", "WARNING"]


def test_line_in_between_says_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "medreasoner")
    watch = LogProgress("sft", every=0)
    watch.step(10, 100)
    watch.step(20, 100)
    assert caplog.messages[0] == "sft: 10/100"
    assert caplog.messages[1].startswith("sft: 20/100, ") and caplog.messages[1].endswith(" left")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3661, "1 h 1 min")]
)
def test_seconds_read_as_a_person_says_them(seconds: float, said: str) -> None:
    assert format_seconds(seconds) == said


def test_values_are_picked_under_their_last_name() -> None:
    assert pick({"rewards/bbox_iou": 1, "loss": 2}, "rewards/bbox_iou", "absent") == {"bbox_iou": 1.0}


def test_a_warning_stays_above_the_bars_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = TerminalProgress()
    with terminal.stage("grpo") as watch:
        watch.warn("[bold] is no markup here")
        watch.step(1, 2)
    assert "grpo: [bold] is no markup here" in capsys.readouterr().err


def test_terminal_and_silence_take_the_same_calls() -> None:
    terminal = TerminalProgress()
    with terminal.stage("curate") as watch:
        for told in (watch, NoProgress()):
            told.step(1, 2, loss=0.5)
            told.note("half way")
            told.warn("odd")
    assert terminal.progress.tasks[0].completed == 1


def test_stopped_stage_is_shown_as_stopped() -> None:
    terminal = TerminalProgress()
    with pytest.raises(RuntimeError), terminal.stage("curate"):
        raise RuntimeError
    assert "stopped" in terminal.progress.tasks[0].fields["values"]
