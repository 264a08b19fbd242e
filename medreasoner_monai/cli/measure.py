"""The commands that measure: score, evaluate, threshold, compare, leaderboard. Heavy imports stand inside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.errors import ConfigError, InputError


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (score, evaluate, threshold, compare, leaderboard):
        app.command()(command)


def score(
    file: Annotated[Path, typer.Argument(help="JSON lines, or - for standard input.")],
    suite: Annotated[str, typer.Option(help="soft, hard, base or abstain.")] = "soft",
    point_overlap: Annotated[str, typer.Option(help="dice, or released for the released code's value.")] = "dice",
    think: Annotated[bool, typer.Option(help="Whether an answer needs a think block.")] = True,
) -> None:
    """Score completions by the training rewards: one JSON row each on standard output.

    A row is {"completion": "<think>…</answer>", "ground_truth": {"bbox_2d": [x1, y1, x2, y2], "point_2d": [[x, y],
    [x, y]]}}; "width" and "height" of the image beside them make coordinates outside of it malformed. A row that cannot
    be scored becomes {"line": n, "error": why}, and the exit code 2.

    Example: medreasoner score completions.jsonl --suite hard
    """
    from medreasoner_monai.rewards import suite as named
    from medreasoner_monai.rewards.score import score_lines

    bad = 0
    chosen = named(suite, point_overlap=point_overlap, think=think)
    with _lines(file) as lines:
        for row in score_lines(lines, chosen):
            bad += "error" in row
            typer.echo(json.dumps(row))
    if bad:
        typer.secho(f"error: {bad} row(s) could not be scored; each says why", fg="red", err=True)
        raise typer.Exit(2)


def evaluate(
    reasoner: Annotated[
        str,
        typer.Option(
            help="truth (with boxes off by up to a share of a side: truth:jitter=0.1), centre-box, a model or bundle"
            " folder, predictions (.jsonl), an endpoint's URL, or blank-image: and a model."
        ),
    ],
    data: Annotated[
        Path, typer.Option(help="A U-MRG Parquet file, a folder with images/ and masks/, or a folder of such folders.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for samples.parquet and metrics.json; goes on where it was.")],
    segmenter: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, NAME:option=value,… or LABEL=NAME:…; may be repeated. Default: fusion where the extra"
            " lite-medsam is installed, else classical."
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt template: think, direct, brief.")] = None,
    reader: Annotated[
        str | None,
        typer.Option(
            help="How an endpoint's or a file's answers are read: strict, strict-direct, lenient, lenient-1000."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name, for an endpoint.")] = None,
    key_variable: Annotated[str | None, typer.Option(help="Environment variable with the endpoint's key.")] = None,
    seed_requests: Annotated[
        bool, typer.Option(help="Send an endpoint a seed for drawn answers; it kills some servers (vLLM on a CPU).")
    ] = False,
    samples: Annotated[int, typer.Option(min=1, help="Answers a question, made into one by agreement.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.01, help="At which several answers are drawn.")] = 0.7,
    abstain_under: Annotated[
        float, typer.Option(min=0, max=1, help="Least agreement of several answers, from medreasoner threshold.")
    ] = 0.0,
    questions: Annotated[
        Literal["rules", "name"],
        typer.Option(help="How a folder's masks are asked for: rules (implicit, some in vain) or name."),
    ] = "rules",
    batch: Annotated[int, typer.Option(min=1, help="Questions asked at once, and results saved at once.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=8, help="Longest completion.")] = 512,
    surface: Annotated[bool, typer.Option(help="Also surface Dice and Hausdorff distance of the masks.")] = True,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps image embeddings from run to run.")] = None,
    part: Annotated[
        str, typer.Option(help="k/n: do every n-th batch from the k-th on, beside other processes.")
    ] = "1/1",
) -> None:
    """Evaluate a reasoner and segmenters on a data set, sample by sample, with intervals.

    Example: medreasoner evaluate --reasoner truth --data biomedparse_demo --segmenter ellipse --out ceiling

    Example: medreasoner evaluate --reasoner runs/demo/bundle --data test.parquet --out run1
    """
    from medreasoner_monai.evaluation.command import Options, evaluate_to
    from medreasoner_monai.evaluation.resolve import Data, Sampling, build_answerer, segmenters
    from medreasoner_monai.reasoners.registry import ReasonerOptions
    from medreasoner_monai.settings.data import QuestionSettings

    options = ReasonerOptions(
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        model=model,
        reader=reader,
        key_variable=key_variable,
        seeded=seed_requests,
    )
    sampling = Sampling(samples, temperature, abstain_under)
    chosen = segmenters(segmenter or ["auto"], cache)
    with progress("evaluating") as watch:
        done = evaluate_to(
            out,
            build_answerer(reasoner, options, sampling),
            Data.open(data, QuestionSettings(writer=questions)),
            chosen,
            Options(batch=batch, surface=surface, part=_part(part)),
            watch,
        )
    if done is None:
        typer.secho(f"part {part} is done; the others' results are still missing in {out}", err=True)
        return
    _show(done.metrics)
    typer.echo(str(out / "metrics.json"))


def threshold(
    evaluation: Annotated[Path, typer.Argument(help="Folder of an evaluation with --samples, on validation data.")],
    wanted: Annotated[float, typer.Option(min=0, max=1, help="Mean box IoU that given answers shall reach.")],
) -> None:
    """Find how far several answers must agree for an answer to be given: a threshold for --abstain-under.

    Example: medreasoner threshold eval-val --wanted 0.6
    """
    from medreasoner_monai.evaluation.abstention import confidence_columns, fit_threshold
    from medreasoner_monai.evaluation.command import read_evaluation

    records = read_evaluation(evaluation).records
    if any(r.confidence is None for r in records):
        raise InputError(f"{evaluation} has no confidence; evaluate with --samples 8 or so")
    agreement, quality = confidence_columns(records)
    found = fit_threshold(agreement, quality, wanted)
    typer.secho(f"gives {found.coverage:.1%} of {quality.size} regions, mean box IoU {found.quality:.3f}", err=True)
    typer.echo(f"{found.value:.5f}")


def compare(
    first: Annotated[Path, typer.Argument(help="Evaluation folder.")],
    second: Annotated[Path, typer.Argument(help="Evaluation folder on the same data.")],
    floor: Annotated[
        float | None, typer.Option(help="Largest loss of any group; exit code 1 when one has lost more.")
    ] = None,
    measure: Annotated[str, typer.Option(help="The measure that the floor holds for.")] = "box_iou",
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say how a second evaluation differs from a first: paired by sample, with 95 % bootstrap intervals by patient.

    Example: medreasoner compare champion candidate --floor 0.05
    """
    from medreasoner_monai.evaluation.command import read_evaluation
    from medreasoner_monai.evaluation.comparison import losses, paired_differences

    a, b = read_evaluation(first), read_evaluation(second)
    found = paired_differences(a, b)
    fallen = losses(a.records, b.records, floor, measure=measure) if floor is not None else []
    if json_:
        typer.echo(json.dumps({"differences": found, "losses": [vars(g) for g in fallen]}, indent=2))
    else:
        _table(
            "second minus first",
            ("measure", "difference", "95 % interval", ""),
            [
                (n, f"{v['difference']:+.3f}", f"{v['low']:+.3f} to {v['high']:+.3f}", _clear(n, v))
                for n, v in found.items()
            ],
        )
        for g in fallen:
            typer.secho(
                f"{g.kind} {g.name}: {measure} {g.difference:+.3f} [{g.low:+.3f}, {g.high:+.3f}], n {g.n}", fg="red"
            )
    if fallen:
        raise typer.Exit(1)


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="Evaluation folders.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("leaderboard.html"),
) -> None:
    """Write one page over many evaluations, beside the figures published with the method.

    Example: medreasoner leaderboard runs/eval-* --out leaderboard.html
    """
    from medreasoner_monai.evaluation.command import read_evaluation
    from medreasoner_monai.report.leaderboard import write_leaderboard

    write_leaderboard([read_evaluation(path) for path in runs], out)
    typer.echo(str(out))


_MISTAKES = {
    "false_positive_rate": "a region for an absent target",
    "false_negative_rate": "“nothing there” for a present target",
    "left_right_confusion": "a region on the other side",
}
"""Rates of :mod:`~medreasoner_monai.evaluation.mistakes`; less is better."""


def _show(metrics: Mapping[str, Any]) -> None:
    from medreasoner_monai.evaluation.metrics import mistake_rate

    overall = metrics["overall"]
    title = f"{metrics['reasoner']} on {metrics['present']} samples with a target: mean and 95 % interval"
    if overall:
        _table(title, ("box IoU", "point Dice"), [(_estimate(overall["box_iou"]), _estimate(overall["point_dice"]))])
    kinds = [m for m in ("dice", "iou", "nsd", "hd95") if any(name.startswith(f"{m}/") for name in overall)]
    masks = [name.removeprefix("dice/") for name in overall if name.startswith("dice/")]
    rows = [(name, *(_estimate(overall[f"{m}/{name}"]) for m in kinds)) for name in masks]
    if rows:
        _table("masks", ("segmenter/prompt", *kinds), rows)
    mistakes = [(what, _share(found)) for name, what in _MISTAKES.items() if (found := mistake_rate(metrics, name))]
    if mistakes:
        _table("mistakes", ("", "share and 95 % interval"), mistakes)
    if metrics["failures"]:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in metrics["failures"].items())
        typer.secho(f"{metrics['failure_rate']:.1%} could not be read: {reasons}", err=True)
    typer.secho(RESEARCH_USE, err=True)


def _estimate(value: Mapping[str, float]) -> str:
    digits = 3 if value["mean"] <= 1 else 1
    return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def _share(found: Mapping[str, float]) -> str:
    return f"{found['mean']:.1%} [{found['low']:.1%}, {found['high']:.1%}] of {found['n']:.0f}"


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(stderr=True).print(table)


def _clear(name: str, estimate: Mapping[str, float]) -> str:
    if estimate["low"] <= 0 <= estimate["high"]:
        return ""
    less_is_better = name.startswith("hd95/") or name in _MISTAKES
    return "better" if (estimate["low"] > 0) != less_is_better else "worse"


def _part(text: str) -> tuple[int, int]:
    k, slash, n = text.partition("/")
    if not (slash and k.isdigit() and n.isdigit()):
        raise ConfigError(f"--part is k/n, such as 2/8, not {text!r}")
    return int(k), int(n)


@contextmanager
def progress(name: str) -> Iterator[Any]:
    """A live bar at a terminal, a log line now and then elsewhere."""
    from medreasoner_monai.pipeline.progress import LogProgress, TerminalProgress

    if not sys.stderr.isatty():
        yield LogProgress(name)
        return
    terminal = TerminalProgress()
    with terminal.progress, terminal.stage(name) as watch:
        yield watch


@contextmanager
def _lines(file: Path) -> Iterator[Iterator[str]]:
    if str(file) == "-":
        yield iter(sys.stdin)
        return
    try:
        opened = file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    with opened:
        yield iter(opened)
