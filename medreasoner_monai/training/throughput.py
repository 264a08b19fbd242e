"""How fast a training is and where its time goes, added to what a trainer logs. The trainer stays as it is.

TRL's own profiling writes to trackers that run in the training process; ours runs in the parent, which reads rows. So
the trainer's methods are wrapped, on the instance alone, and each log of a step gets the figures since the last one.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from transformers import TrainerCallback

GIB = 2**30
ROLLOUT, REWARD, LOGPROBS, UPDATE, OTHER = "rollout", "reward", "logprobs", "update", "other"
VALIDATION, CHECKPOINT = "validation", "checkpoint"
_SECTIONS = {
    "_generate": ROLLOUT,
    "_calculate_rewards": REWARD,
    "_generate_and_score_completions": OTHER,  # what is not one of those above: pictures and text made ready
    "evaluate": VALIDATION,
    "_save_checkpoint": CHECKPOINT,
}
_WHOLE = (VALIDATION, CHECKPOINT)


class Clock:
    """Shares out wall-clock time among sections: the innermost one gets it, so that the sum is the time that passed.

    Outside all sections, time goes to ``base``.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.spent: dict[str, float] = defaultdict(float)
        self.inside = [OTHER]
        self.since = now()

    def _settle(self) -> None:
        now = self.now()
        self.spent[self.inside[-1]] += now - self.since
        self.since = now

    def base(self, name: str) -> None:
        """What time outside all sections goes to from now on."""
        self._settle()
        self.inside[0] = name

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time inside goes to ``name``; validation and checkpoints keep what happens within them."""
        self._settle()
        self.inside.append(self.inside[-1] if self.inside[-1] in _WHOLE else name)
        try:
            yield
        finally:
            self._settle()
            self.inside.pop()

    def take(self) -> dict[str, float]:
        """Seconds by section since the last call."""
        self._settle()
        out = dict(self.spent)
        self.spent.clear()
        return out


class Throughput(TrainerCallback):
    """Measures a trainer; making one is enough.

    Each logged step then has ``time/<section>_share`` (they add up to 1), ``time/wall_s``, ``speed/…_per_s`` over that
    time, and ``memory/…``. Under several ranks each does as much as this one, which is what is assumed.

    A loss that is not finite is logged as such: the trainer would put the average in its place.
    """

    def __init__(self, trainer: Any, now: Callable[[], float] = time.perf_counter) -> None:
        self.trainer = trainer
        self.gpu = trainer.args.device.type == "cuda"
        self.clock = Clock(now)
        self.counts: dict[str, Any] = defaultdict(int)
        self.bad_losses: Any = 0
        for name, section in _SECTIONS.items():
            if hasattr(trainer, name):
                setattr(trainer, name, self._timed(getattr(trainer, name), section))
        for name, wrap in (
            ("_generate", self._counted),
            ("_get_per_token_logps_and_entropies", self._scored),
            ("training_step", self._stepped),
            ("log", self._logged),
        ):
            if hasattr(trainer, name):
                setattr(trainer, name, wrap(getattr(trainer, name)))
        trainer.add_callback(self)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Loading the model is no part of it."""
        self.clock.take()
        self._reset_peak()

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A micro-batch is done."""
        self.clock.base(OTHER)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The optimiser has stepped. What the GPU has still to do of the update is waited for here, once a step."""
        self._wait()
        self.clock.base(OTHER)

    def _wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def _timed(self, method: Callable[..., Any], section: str) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if section == OTHER:
                self._wait()
            with self.clock.section(section):
                return method(*args, **kwargs)

        return call

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            out = method(*args, **kwargs)
            if self.trainer.model.training:
                prompts, completions = out[0], out[1]
                self.counts["completions"] += len(completions)
                self.counts["prompt_tokens"] += sum(len(ids) for ids in prompts)
                self.counts["completion_tokens"] += sum(len(ids) for ids in completions)
            return out

        return call

    def _scored(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if torch.is_grad_enabled():  # the update's own forward
                return method(*args, **kwargs)
            with self.clock.section(LOGPROBS):
                return method(*args, **kwargs)

        return call

    def _stepped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.clock.base(UPDATE)
            if isinstance(inputs, Mapping) and "input_ids" in inputs:
                self.counts["samples"] += len(inputs["input_ids"])
                if (mask := inputs.get("attention_mask")) is not None:
                    # Summed up where it is: reading it here would make the GPU wait.
                    self.counts["tokens"] = self.counts["tokens"] + mask.sum()
            loss = method(model, inputs, *args, **kwargs)
            self.bad_losses = self.bad_losses + (~torch.isfinite(loss.detach())).sum()
            return loss

        return call

    def _logged(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(logs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            if "loss" in logs:
                if int(self.bad_losses):
                    logs["loss"] = float("nan")
                self.bad_losses = 0
                logs |= self.figures()
            return method(logs, *args, **kwargs)

        return call

    def figures(self) -> dict[str, float]:
        """The figures since the last call, by the names they are logged under."""
        spent = self.clock.take()
        wall = sum(spent.values()) or 1e-9
        out = {f"time/{name}_share": seconds / wall for name, seconds in spent.items()}
        out["time/wall_s"] = wall
        counts = {name: int(count) * self.trainer.accelerator.num_processes for name, count in self.counts.items()}
        self.counts.clear()
        if "completions" in counts:
            counts["samples"] = counts["completions"] // self.trainer.num_generations
        out |= {f"speed/{name}_per_s": count / wall for name, count in counts.items()}
        if spent.get(ROLLOUT):
            out["speed/rollout_tokens_per_s"] = counts["completion_tokens"] / spent[ROLLOUT]
        return out | self._memory()

    def _memory(self) -> dict[str, float]:
        # The most this process ever had; Linux counts in KiB, macOS in bytes.
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        out = {"memory/cpu_peak_gib": resident / GIB}
        if self.gpu:
            out["memory/gpu_peak_gib"] = torch.cuda.max_memory_allocated() / GIB
            self._reset_peak()
        return out

    def _reset_peak(self) -> None:
        if self.gpu:
            torch.cuda.reset_peak_memory_stats()
