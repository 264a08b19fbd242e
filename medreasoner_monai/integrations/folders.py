"""Writing an app's folder out of the installed package, for servers and packagers that want a folder of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

from medreasoner_monai.errors import InputError, MedReasonerError


def write_app(package: str, folder: Path, more: Mapping[str, str] | None = None) -> Path:
    """Write the files of a package's ``app`` folder.

    Parameters
    ----------
    package:
        Such as ``medreasoner_monai.integrations.monailabel``.
    folder:
        Made if absent. Files of ours are replaced, others stay.
    more:
        Texts of further files, by name.

    Returns
    -------
    The folder.

    Raises
    ------
    InputError
        If the folder is a file, or has a program in it that is not ours.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the app")
    source = files(package) / "app"
    texts = {f.name: f.read_text(encoding="utf-8") for f in source.iterdir() if f.is_file()} | dict(more or {})
    for name in (n for n in texts if n.endswith(".py")):
        there = folder / name
        if there.exists() and "medreasoner_monai" not in there.read_text(encoding="utf-8", errors="replace"):
            raise InputError(f"{there} is not ours; give another folder for the app")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        partial = folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
    return folder


def command(arguments: list[str], module: str, write: Callable[[Path], Path], then: str) -> int:
    """What ``python -m MODULE FOLDER`` does: write the folder, and say how to go on.

    Parameters
    ----------
    arguments:
        One, the folder.
    then:
        Said afterwards, with ``{folder}`` and ``{python}`` filled in.

    Returns
    -------
    The exit code.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(f"usage: python -m {module} FOLDER\n")
        return 0 if arguments in (["-h"], ["--help"]) else InputError.exit_code
    try:
        folder = write(Path(arguments[0]))
    except MedReasonerError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(then.format(folder=folder, python=sys.executable) + "\n")
    return 0
