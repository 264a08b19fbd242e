"""The commands that make a bundle and check it. Heavy imports stand inside them."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from medreasoner_monai.cli.bar import bar
from medreasoner_monai.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(package)
    bundles = typer.Typer(help="Look after a packaged bundle.", no_args_is_help=True)
    bundles.command()(verify)
    app.add_typer(bundles, name="bundle")


def package(
    model: Annotated[Path, typer.Option(help="Merged model folder, as `medreasoner merge` makes it.")],
    out: Annotated[Path, typer.Option(help="Folder to write the bundle to: new or empty.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="Evaluation folder, whose figures and intervals go into the model card.")
    ] = None,
    segmenter: Annotated[
        str,
        typer.Option(help="NAME:option=value,…; its weights are copied into the bundle. auto: fusion, else classical."),
    ] = "auto",
    version: Annotated[str | None, typer.Option(help="Version of the bundle; default: the package's.")] = None,
    changes: Annotated[str, typer.Option(help="What is new in it, for the changelog.")] = "first version",
    trained_on: Annotated[str, typer.Option(help="What it was trained on, in a sentence.")] = "not stated",
    dataset_digest: Annotated[str, typer.Option(help="sha256 of the training data.")] = "not stated",
    reward_digest: Annotated[str, typer.Option(help="sha256 of the reward settings.")] = "not stated",
    limit: Annotated[list[str] | None, typer.Option(help="A known limit for the card. May be repeated.")] = None,
    large_files_url: Annotated[str, typer.Option(help="Where files over 25 MB will be published.")] = "",
) -> None:
    """Fill the MONAI bundle from a merged model, and verify it.

    Example: medreasoner package --model merged --evaluation run1 --out medreasoner_grounding
    """
    from medreasoner_monai.bundle.packaging import evaluation_facts, package_bundle
    from medreasoner_monai.pipeline.environment import quiet_environment

    quiet_environment()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; give a new or empty folder")
    facts: dict[str, Any] = {
        "changes": changes,
        "trained_on": trained_on,
        "dataset_digest": dataset_digest,
        "reward_digest": reward_digest,
        "limits": limit or [],
        "large_files_url": large_files_url,
        **({"version": version} if version else {}),
        **(evaluation_facts(evaluation) if evaluation else {}),
    }
    partial = out.with_name(f".{out.name}.partial")
    package_bundle(model, partial, facts, segmenter=segmenter)
    if out.is_dir():
        out.rmdir()
    partial.replace(out)
    typer.echo(str(out))
    typer.echo(f"check it with: medreasoner bundle verify {out}", err=True)


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    schema: Annotated[
        Path | None, typer.Option(help="MONAI's metadata schema (JSON), for its own verify_metadata as well.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Files and metadata alone; run no model.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check a bundle, offline: files and digests, metadata, configs, the network's input and output, a run on a CT.

    Exit code 1 when a check fails. A bundle's configs are code, and they are run unless --quick is given: verify
    bundles that you trust.

    Example: medreasoner bundle verify runs/demo/bundle
    """
    from rich.console import Console

    from medreasoner_monai.pipeline.environment import quiet_environment

    quiet_environment()
    # MONAI logs to stdout, which is for the result alone.
    with redirect_stdout(sys.stderr), bar("checking") as (step, _):
        from medreasoner_monai.bundle.verify import render, verify_bundle

        checks = verify_bundle(bundle, schema=schema, quick=quick, progress=step)
    if json_:
        typer.echo(json.dumps([vars(c) for c in checks], indent=2))
    else:
        Console().print(render(checks))
    raise typer.Exit(1 if any(c.state == "failed" for c in checks) else 0)
