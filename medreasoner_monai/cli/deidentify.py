"""The command that makes copies for research. Heavy imports stand inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medreasoner_monai.cli.bar import bar
from medreasoner_monai.errors import DicomError, InputError


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(deidentify)


def deidentify(
    source: Annotated[Path, typer.Argument(help="A DICOM file, or a folder searched at any depth.")],
    out: Annotated[Path, typer.Option(help="Folder for the copies, named by their new UIDs; new or empty.")],
    key_file: Annotated[
        Path, typer.Option(help="At least 16 secret bytes; made where there is no such file. One key for one export.")
    ],
    shift_dates: Annotated[
        bool,
        typer.Option(help="Move the dates of a patient back by the same days, in place of removing them."),
    ] = False,
    keep_texts: Annotated[
        bool, typer.Option(help="Keep questions and reasoning in reports; only where somebody has read them.")
    ] = False,
    pixels_checked: Annotated[
        bool, typer.Option(help="Somebody looked at the pictures: nothing written in them says who the patient is.")
    ] = False,
) -> None:
    """Copy SEG, SR, pictures and images without who the patient is (PS3.15 Annex E, Basic Profile).

    With the same key files still refer to each other. Files that cannot be copied are told with the reason, and the
    exit code is 1. For research exports; not a certified de-identifier, and pixels are not looked at.

    Example: medreasoner deidentify answer/ --out export --key-file export.key
    """
    import secrets

    from medreasoner_monai.dicom.deidentify import deidentify as copy
    from medreasoner_monai.dicom.files import is_dicom

    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; give a new or empty folder")
    files = [p for p in ([source] if source.is_file() else sorted(source.rglob("*"))) if p.is_file() and is_dicom(p)]
    if not files:
        raise DicomError(f"{source}: no DICOM file found")
    if not key_file.exists():
        key_file.touch(mode=0o600)
        key_file.write_bytes(secrets.token_bytes(32))
        typer.echo(f"made the key {key_file}; whoever has it and the originals can link the copies", err=True)
    key = key_file.read_bytes()
    out.mkdir(parents=True, exist_ok=True)
    refused = []
    with bar("copying") as (step, _):
        for number, path in enumerate(files, 1):
            partial = out / ".partial.dcm"
            try:
                made = copy(
                    path,
                    partial,
                    key=key,
                    dates="shift" if shift_dates else "remove",
                    keep_texts=keep_texts,
                    pixels_checked=pixels_checked,
                )
                partial.replace(out / f"{made.sop_instance_uid}.dcm")
            except DicomError as error:
                refused.append(str(error))
            step(number, len(files))
    typer.echo(f"{len(files) - len(refused)} of {len(files)} files copied to {out}", err=True)
    for reason in refused:
        typer.echo(f"  {reason}", err=True)
    if refused:
        raise typer.Exit(1)
