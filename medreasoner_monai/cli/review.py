"""`medreasoner review`: clinicians judge a data set. Heavy imports stand inside the commands."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer
from typer.core import TyperGroup

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.errors import InputError

if TYPE_CHECKING:
    from medreasoner_monai.data.review.store import ReviewStore
    from medreasoner_monai.review.board import Board
    from medreasoner_monai.review.dataset import ReviewedData

Dataset = Annotated[Path, typer.Argument(help="A curated folder (train, val, test.parquet), or a U-MRG parquet file.")]
ReviewsOption = Annotated[
    Path | None, typer.Option(help="The review store. Default: <DATASET>.reviews.sqlite beside the data set.")
]
GoldOption = Annotated[
    Path | None, typer.Option(help='Known verdicts: {"<sample id>": {"mask": "reject", …}, …}. Readers are not told.')
]
Readings = Annotated[int, typer.Option(min=1, help="Readers who judge each sample, blinded to each other.")]
Format = Literal["label-studio", "cvat"]


class _ServeByDefault(TyperGroup):
    """`medreasoner review DATASET` is `medreasoner review serve DATASET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    reviews = typer.Typer(
        cls=_ServeByDefault,
        help=f"Judge the questions, masks and traces of a data set on a local page.\n\n{RESEARCH_USE}",
        no_args_is_help=True,
    )
    reviews.command("serve")(serve)
    reviews.command("status")(status)
    reviews.command("apply")(apply)
    reviews.command("export")(export)
    reviews.command("import")(import_)
    app.add_typer(reviews, name="review")


def serve(
    dataset: Dataset,
    reviews: ReviewsOption = None,
    reviewer: Annotated[
        list[str] | None, typer.Option(help="A reader's name; may be repeated. Default: who is logged in.")
    ] = None,
    adjudicator: Annotated[
        list[str] | None, typer.Option(help="Who settles what readers disagree on; may be repeated.")
    ] = None,
    readings: Readings = 1,
    order: Annotated[str, typer.Option(help="id, disagreement or confidence (the least first).")] = "id",
    evaluation: Annotated[
        Path | None, typer.Option(help="A folder that `medreasoner evaluate` wrote, for the order.")
    ] = None,
    gold: GoldOption = None,
    gold_share: Annotated[float, typer.Option(min=0.01, max=0.5, help="At most this share are gold items.")] = 0.1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 8765,
) -> None:
    """Show the page until Ctrl-C; each reviewer opens the address printed for them. The default command.

    Example: medreasoner review runs/data/dataset --reviewer ann --reviewer bob --adjudicator cyd --readings 2
    """
    from medreasoner_monai.review.board import Board, Plan
    from medreasoner_monai.review.order import ORDERS, Gold, model_order
    from medreasoner_monai.review.serve import serve as run

    if order not in ORDERS:
        raise InputError(f"--order is one of {', '.join(ORDERS)}, found {order!r}")
    data, store = _opened(dataset, reviews, create=True)
    ids = [entry.id for entry in data.entries]
    plan = Plan(
        tuple(reviewer or [getpass.getuser()]),
        tuple(adjudicator or ()),
        readings,
        order,
        None if gold is None else Gold.read(gold, ids, gold_share),
    )
    board = Board(data, store, plan, model_order(ids, evaluation, plan.order))

    def announce(addresses: Mapping[str, str]) -> None:
        typer.echo(f"{RESEARCH_USE}\n{len(ids)} samples; verdicts go to {store.path}")
        for name, address in addresses.items():
            typer.echo(f"{name}: {address}")
        typer.echo("Each address is for one reviewer. Ctrl-C ends the server; nothing is lost.")

    run(board, port, announce)


def status(
    dataset: Dataset,
    reviews: ReviewsOption = None,
    readings: Readings = 1,
    gold: GoldOption = None,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say how far the review is, how readers agree (95 % intervals over patients), and how they fare on gold items."""
    from medreasoner_monai.review.agreement import agreement, gold_scores

    board = _board(dataset, reviews, readings, gold)
    states: dict[str, dict[str, int]] = {}
    for entry in board.data.entries:
        for field in ("question", "mask", "trace"):
            states.setdefault(field, {"settled": 0, "disputed": 0, "open": 0})
        if not board.heads(entry.id):
            for field in entry.parts:
                states[field]["open"] += 1
            continue
        for field, outcome in board.outcomes(entry.id).items():
            states[field][outcome.state] += 1
    agreed, golden = agreement(board), gold_scores(board)
    if json_:
        facts: dict[str, Any] = {"states": states, "agreement": {f: a.as_dict() for f, a in agreed.items()}}
        facts["gold"] = {r: {f: {"right": n, "of": m} for f, (n, m) in s.items()} for r, s in golden.items()}
        typer.echo(json.dumps(facts))
        return
    _print_status(states, agreed, golden)


def _print_status(
    states: Mapping[str, Mapping[str, int]], agreed: Mapping[Any, Any], golden: Mapping[str, Any]
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "settled", "disputed", "open", "pairs", "equal", "kappa", "mask Dice")
    for field, counts in states.items():
        a = agreed.get(field)
        more = [str(a.pairs), str(a.percent), str(a.kappa), str(a.mask_dice or "")] if a else ["0", "", "", ""]
        table.add_row(field, *(str(counts[s]) for s in ("settled", "disputed", "open")), *more)
    console = Console()
    console.print(table)
    for name, fields in golden.items():
        said = ", ".join(f"{field} {right} of {total}" for field, (right, total) in fields.items())
        console.print(f"gold items, right: {name}: {said}", highlight=False)


def apply(
    dataset: Dataset,
    out: Annotated[Path, typer.Option(help="Folder to write; new.")],
    reviews: ReviewsOption = None,
    require: Annotated[bool, typer.Option(help="Keep samples alone of which every part has been reviewed.")] = False,
    readings: Readings = 1,
) -> None:
    """Write the data set anew with the verdicts applied; what was rejected goes to rejects.parquet.

    In a config, `data.review` does the same while curating.
    """
    from medreasoner_monai.data.review.applied import Reviews
    from medreasoner_monai.review.rewrite import rewrite

    data, store = _opened(dataset, reviews)
    counts = rewrite(data, Reviews(store, require=require, readings=readings), out)
    for name, count in counts.items():
        typer.echo(f"{name}: {count['kept']} kept, {count['rejected']} set aside")
    typer.echo(f"written: {out}")


def export(
    dataset: Dataset,
    out: Annotated[Path, typer.Option(help="Folder to write; new or empty.")],
    format_: Annotated[str, typer.Option("--format", help="label-studio or cvat.")],
    reviews: ReviewsOption = None,
) -> None:
    """Write the samples, as corrected so far, as tasks of Label Studio or of CVAT (for images 1.1), with pictures."""
    from medreasoner_monai.review.exchange.export import export_to

    data, store = _opened(dataset, reviews, create=True)
    count = export_to(_format(format_), data, store, out)
    typer.echo(f"{count} samples written to {out}")


def import_(
    dataset: Dataset,
    file: Annotated[Path, typer.Option(help="Label Studio's JSON export, or CVAT's annotations.xml.")],
    format_: Annotated[str, typer.Option("--format", help="label-studio or cvat.")],
    reviews: ReviewsOption = None,
    reviewer: Annotated[str, typer.Option(help="Whose verdicts these are, where the file does not say.")] = "",
) -> None:
    """Add the verdicts of a file from Label Studio or CVAT to the review store; each stands beside those there."""
    from medreasoner_monai.review.exchange.importing import import_from

    data, store = _opened(dataset, reviews, create=True)
    done = import_from(_format(format_), file, data, store, reviewer)
    typer.echo(f"{done.verdicts} verdicts on {done.samples} samples added")
    for reason in done.refused:
        typer.secho(f"not taken: {reason}", err=True, fg="yellow")
    if done.refused:
        raise typer.Exit(2)


def _format(name: str) -> Format:
    if name not in get_args(Format):
        raise InputError(f"--format is one of {', '.join(get_args(Format))}, found {name!r}")
    return cast(Format, name)


def _opened(dataset: Path, reviews: Path | None, *, create: bool = False) -> tuple[ReviewedData, ReviewStore]:
    from medreasoner_monai.data.review.store import ReviewStore
    from medreasoner_monai.review.dataset import ReviewedData

    data = ReviewedData(dataset)
    resolved = dataset.resolve()
    store = ReviewStore(reviews or resolved.with_name(f"{resolved.name}.reviews.sqlite"), create=create)
    data.bind(store)
    return data, store


def _board(dataset: Path, reviews: Path | None, readings: int, gold: Path | None) -> Board:
    from medreasoner_monai.review.board import Board, Plan
    from medreasoner_monai.review.order import Gold

    data, store = _opened(dataset, reviews)
    ids = [entry.id for entry in data.entries]
    known = None if gold is None else Gold.read(gold, ids)
    names = tuple(f"reader {n}" for n in range(readings))  # nobody is served here
    return Board(data, store, Plan(names, (), readings, "id", known), ids)
