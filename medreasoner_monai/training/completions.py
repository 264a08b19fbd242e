"""What the model writes while it learns: a few completions every so many steps, with all they earned, and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from medreasoner_monai.rewards import RewardSuite
from medreasoner_monai.task.answer import Grounding, parse
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.training.attempt import check_current
from medreasoner_monai.training.contact import Tile, contact_sheet
from medreasoner_monai.training.dataset import row_truth
from medreasoner_monai.training.follow import SHEETS, sheet_name
from medreasoner_monai.training.launch import COMPLETIONS

QUESTIONS, EACH = 4, 2


class Recorder(TrainerCallback):
    """Writes down, every so many optimiser steps, the first completions of the first questions of a round.

    A line has ``step``, ``id``, ``question``, ``text``, every term of the suite, their weighted sum ``reward`` and the
    ``advantage`` that the completion was given. Which ones are shown does not depend on what they earned, so that they
    stand for the rest.
    """

    def __init__(self, trainer: Any, folder: Path, suite: RewardSuite, *, every: int) -> None:
        self.trainer, self.folder, self.suite, self.every = trainer, folder, suite, every
        trainer._generate_and_score_completions = self._recorded(trainer._generate_and_score_completions)
        trainer.add_callback(self)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After a resume, what belongs to steps that are repeated is dropped."""
        path = self.folder / COMPLETIONS
        if not state.is_world_process_zero or not path.is_file():
            return
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) < state.global_step]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        temporary.replace(path)

    def _recorded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            made = method(inputs, *args, **kwargs)
            state = self.trainer.state
            due = state.global_step % self.every == 0 and self.trainer.model.training
            if due and state.is_world_process_zero:
                self.record(state.global_step, inputs, made)
            return made

        return call

    def record(self, step: int, inputs: list[dict[str, Any]], made: Mapping[str, Any]) -> None:
        """Write the lines and the contact sheet of a round.

        Parameters
        ----------
        step:
            Optimiser steps taken before it.
        inputs:
            Its training rows, each as often as it has completions.
        made:
            What the trainer made of them: ``completion_ids`` and ``advantages``, in the same order.
        """
        places = first_of_each([row["id"] for row in inputs])
        rows = [inputs[n] for n in places]
        texts = self.trainer.processing_class.batch_decode(made["completion_ids"][places], skip_special_tokens=True)
        frames = [Frame(int(r["frame_width"]), int(r["frame_height"]), "model") for r in rows]
        scores = self.suite.score(texts, [r["ground_truth"] for r in rows], frames)
        lines, tiles = [], []
        for n, (place, row, text, frame) in enumerate(zip(places, rows, texts, frames, strict=True)):
            earned = {name: round(float(values[n]), 4) for name, values in scores.items()}
            reward = earned.pop("score")
            advantage = round(float(made["advantages"][place]), 4)
            lines.append(
                {
                    "step": step,
                    "id": row["id"],
                    "question": question(row),
                    "text": text,
                    **earned,
                    "reward": reward,
                    "advantage": advantage,
                }
            )
            answer = parse(text, frame, think=self.suite.think)
            drawn = (answer.box, answer.points) if isinstance(answer, Grounding) else None
            said = "" if drawn else ", no region"
            # No name of a sample: it may be a patient's. The number is the line's among those of the step.
            caption = f"{n + 1}: reward {reward:.2f}, advantage {advantage:+.2f}{said}"
            tiles.append(Tile(row["images"][0], row_truth(row), drawn, caption))
        check_current()
        folder = self.folder / SHEETS
        folder.mkdir(parents=True, exist_ok=True)
        # The sheet first: who reads a line finds the picture that belongs to it.
        temporary = folder / ".sheet.tmp"
        contact_sheet(tiles).save(temporary, "PNG")
        temporary.replace(folder / sheet_name(step))
        with (self.folder / COMPLETIONS).open("a", encoding="utf-8") as f:
            f.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def first_of_each(names: Iterable[str], questions: int = QUESTIONS, each: int = EACH) -> list[int]:
    """The places of the first ``each`` of the first ``questions`` different names.

    >>> first_of_each(["a", "a", "a", "b", "b", "b", "c"], questions=2)
    [0, 1, 3, 4]
    """
    seen: dict[str, int] = {}
    places = []
    for place, name in enumerate(names):
        if name not in seen and len(seen) == questions:
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= each:
            places.append(place)
    return places


def question(row: Mapping[str, Any]) -> str:
    """The user's text in a training row's prompt."""
    content = row["prompt"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # the last line of a killed process
        return float("inf")
