"""``python -m medreasoner_monai.integrations.monaideploy FOLDER``: write the app's folder, to run or to package."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medreasoner_monai import __version__
from medreasoner_monai.integrations.folders import command, write_app

PACKAGE = "medreasoner_monai.integrations.monaideploy"
THEN = """The app is in {folder}. Run it with
  {python} {folder} -i DICOM -o OUT -m BUNDLE --question "…"
or package it with
  monai-deploy package {folder} --config {folder}/app.yaml --models BUNDLE --platform x86_64 --tag NAME"""
_PINNED = (
    "highdicom",
    "monai",
    "numpy",
    "opencv-python-headless",
    "pydicom",
    "python-gdcm",
    "scikit-image",
    "torch",
    "torchvision",
    "transformers",
)


def requirements() -> str:
    """``requirements.txt`` of the packaged app: this package, and what decides an answer as it is installed here."""
    lines = [f"medreasoner-monai=={__version__}"]
    for name in _PINNED:
        try:
            lines.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return "\n".join(lines) + "\n"


def write(folder: Path) -> Path:
    """The app's folder with its requirements."""
    return write_app(PACKAGE, folder, {"requirements.txt": requirements()})


if __name__ == "__main__":
    raise SystemExit(command(sys.argv[1:], PACKAGE, write, THEN))
