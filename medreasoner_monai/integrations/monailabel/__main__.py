"""``python -m medreasoner_monai.integrations.monailabel FOLDER``: write the app's folder for ``start_server``."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path

from medreasoner_monai.errors import InputError, MedReasonerError

USAGE = "usage: python -m medreasoner_monai.integrations.monailabel FOLDER"


def write_app(folder: Path) -> Path:
    """Put the app's ``main.py`` into ``folder``, which is made if absent.

    The server writes logs and more beside that file, hence a folder outside the installed package.

    Raises
    ------
    InputError
        If the folder is a file, or has another ``main.py`` in it.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the app")
    target = folder / "main.py"
    with as_file(files("medreasoner_monai.integrations.monailabel") / "app/main.py") as source:
        if target.exists() and target.read_bytes() != source.read_bytes():
            raise InputError(f"{target} is not ours; give an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(".main.py.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)
    return folder


def main(arguments: list[str]) -> int:
    """Write the folder and say how to start."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(USAGE + "\n")
        return 0 if arguments in (["-h"], ["--help"]) else InputError.exit_code
    try:
        folder = write_app(Path(arguments[0]))
    except MedReasonerError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(
        f"{folder}\nstart it with:\n  {sys.executable} -m monailabel.main start_server --host 127.0.0.1 \\\n"
        f"    --app {folder} --studies STUDIES --conf bundle BUNDLE\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
