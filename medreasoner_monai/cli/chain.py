"""``medreasoner run``: check the user's input, start what the run needs, run the flow, say where the results are."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.pipeline.environment import quiet_environment
from medreasoner_monai.pipeline.explain import explain_error
from medreasoner_monai.pipeline.prefect_server import prefect_server, send_last_logs
from medreasoner_monai.pipeline.progress import TerminalProgress, format_seconds
from medreasoner_monai.pipeline.workspace import Workspace
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.loading import load_settings
from medreasoner_monai.training.preflight import check_run, check_training


def run_chain(
    config: Path,
    workspace: Path,
    overrides: tuple[str, ...],
    *,
    fresh: tuple[str, ...] = (),
    reason: str = "",
    live: bool,
) -> dict[str, Any]:
    """Run the chain and return the content of ``summary.json``.

    Raises
    ------
    InputError
        For a wrong config, series or question, before anything is started.
    """
    settings = load_settings(config, overrides)
    check_run(settings, workspace)
    started = time.monotonic()
    with _explained(workspace), _prepared(settings, config, workspace, live=live) as (console, space):
        from flows.retrain import retrain

        summary: dict[str, Any] = retrain(config, space.root, overrides, fresh, reason)
    tell(console, summary, workspace, time.monotonic() - started)
    return summary


def run_training(config: Path, workspace: Path, overrides: tuple[str, ...], *, live: bool) -> Path:
    """Train and merge, and return the merged model's folder.

    Raises
    ------
    ConfigError
        With everything that is known to be wrong, before anything is started.
    """
    settings = load_settings(config, overrides)
    check_training(settings, workspace)
    with _explained(workspace), _prepared(settings, config, workspace, live=live) as (_, space):
        from flows.train import train

        return train(config, space.root, overrides)


@contextmanager
def _prepared(settings: Settings, config: Path, workspace: Path, *, live: bool) -> Iterator[tuple[Console, Workspace]]:
    """The workspace free, Prefect running, progress shown."""
    space = Workspace(workspace)
    logging.raiseExceptions = False  # Prefect would print an error for every line that a lost server does not take
    quiet_environment(None if settings.tracking.prefect_api_url else space.prefect_home)
    console = Console(stderr=True)
    console.print(f"[bold]medreasoner[/] {settings.name}: {config} in {workspace}", highlight=False)
    with ExitStack() as stack:
        importing = threading.Thread(target=_import_libraries, daemon=True)
        importing.start()
        with console.status("starting Prefect…") if live else ExitStack():
            url = stack.enter_context(prefect_server(space.prefect_home, settings.tracking.prefect_api_url))
            importing.join()
            import flows.common  # noqa: F401 - while the status is shown; it takes seconds
        console.print(f"Prefect follows at {url.removesuffix('/api')} while this runs", highlight=False)
        from medreasoner_monai.pipeline.context import show_on

        if live:
            terminal = TerminalProgress()
            show_on(terminal)
            stack.enter_context(terminal.progress)
            stack.enter_context(_lines_above_bars())
            stack.callback(show_on, None)
        stack.callback(send_last_logs)
        yield console, space


@contextmanager
def _lines_above_bars() -> Iterator[None]:
    """Log lines go through the standard error that the bars have taken over, which puts them above."""
    handlers = [h for h in logging.getLogger("medreasoner").handlers if type(h) is logging.StreamHandler]
    before = [(handler, handler.stream) for handler in handlers]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in before:
            handler.setStream(stream)


@contextmanager
def _explained(workspace: Path) -> Iterator[None]:
    """An error that comes from a full disk says which."""
    try:
        yield
    except Exception as error:
        known = explain_error(error, workspace)
        if known is None or known is error:
            raise
        raise known from error


def _import_libraries() -> None:
    """Import what the stages need while the server starts; not Prefect, which must know its address first."""
    import mlflow  # noqa: F401

    from medreasoner_monai.report import report_stage  # noqa: F401


_MISTAKES = {
    "false_positive_rate": "regions for absent targets",
    "false_negative_rate": "“nothing there” for present ones",
    "left_right_confusion": "left for right",
}


def tell(console: Console, summary: dict[str, Any], workspace: Path, seconds: float) -> None:
    """The figures and where everything is."""
    gain = summary["grpo_gain"]
    table = Table.grid(padding=(0, 2))
    for name in ("blank_image", "cold_start", "grpo"):
        table.add_row(f"box IoU, {name.replace('_', ' ')}", f"{summary['box_iou'][name]:.3f}")
    table.add_row("gain by GRPO", f"{gain['difference']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
    table.add_row("unreadable answers", f"{summary['format_failure_rate']:.1%}")
    for name, what in _MISTAKES.items():
        if found := summary[name]:
            table.add_row(what, f"{found['mean']:.1%} [{found['low']:.1%}, {found['high']:.1%}]")
    table.add_row("mask Dice", f"{summary['mask_dice']:.3f}")
    table.add_row("gate", f"{summary['decision']}: {'; '.join(summary['reasons'])}")
    for name in ("report", "bundle", "seg"):
        table.add_row(name, str(workspace / summary[name]) if summary[name] else f"none: {summary['no_seg_because']}")
    console.print(Panel(table, title=f"done in {format_seconds(seconds)}", subtitle=RESEARCH_USE, expand=False))
