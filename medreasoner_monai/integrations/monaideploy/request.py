"""The request to the app: by arguments, or by variables where a package is run without any."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medreasoner_monai.errors import InputError
from medreasoner_monai.reasoners.packaged import CONFIG

PREFIX = "MEDREASONER_"
_HELP = {
    "question": "asked about the series; several are separated by line breaks",
    "series": "Series Instance UID, or its end, where the input holds several",
    "slices": "auto, all, or a slice number counted from 0",
    "carry": "whether the mask is carried to neighbouring slices",
    "device": "as torch names it; default: a GPU where there is one",
}


@dataclass(frozen=True)
class Request:
    """The questions and how to ask them; None stands for the bundle's own setting."""

    questions: tuple[str, ...]
    series: str | None = None
    slices: str | None = None
    carry: str | None = None
    device: str | None = None


def read_request(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Request, list[str]]:
    """The request, and the arguments that are the SDK's own (``-i``, ``-o``, ``-m``…).

    Parameters
    ----------
    arguments:
        Without the program's name. ``--question`` and the others stand above ``MEDREASONER_QUESTION`` and theirs.

    Raises
    ------
    InputError
        If there is no question.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in _HELP:
        parser.add_argument(f"--{name}")
    parsed, others = parser.parse_known_args(arguments)
    given = {name: getattr(parsed, name) or environment.get(PREFIX + name.upper()) or None for name in _HELP}
    questions = tuple(line.strip() for line in (given.pop("question") or "").splitlines() if line.strip())
    if not questions and not {"-h", "--help"} & set(others):
        raise InputError(f'a question is needed: --question "…", or the variable {PREFIX}QUESTION')
    return Request(questions, **given), others


def usage() -> str:
    """What can be given besides the SDK's own arguments."""
    lines = [f"  --{name:<10}{PREFIX + name.upper():<23}{text}" for name, text in _HELP.items()]
    return "\n".join(["what is asked, as an argument or a variable:", *lines])


def find_bundle(path: Path) -> Path:
    """The bundle at the model path: the folder itself, or the only bundle in it, as a MAP has its models.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    if (path / CONFIG).is_file():
        return path
    found = sorted(p.parents[1] for p in path.glob(f"*/{CONFIG}"))
    if len(found) != 1:
        raise InputError(
            f"{path} holds {len(found) or 'no'} bundle(s); give with -m the folder that `medreasoner package` made"
        )
    return found[0]
