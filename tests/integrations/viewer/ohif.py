"""OHIF as its makers build it, fetched with npm once and held against a digest."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "3.13.2"
SHA512 = (
    "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
    "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
)
FOLDER = Path(__file__).parents[3] / f"runs/viewer/ohif-{VERSION}"


def built() -> Path | None:
    """The built viewer, where it has been fetched."""
    return FOLDER / "dist" if (FOLDER / "dist/index.html").is_file() else None


def fetch() -> Path:
    """The built viewer, fetched where it is not there yet (50 MB, 215 MB unpacked).

    Raises
    ------
    RuntimeError
        If npm is missing or fails, or what it brings is not what was tried.
    """
    if found := built():
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm was not found, which fetches OHIF: apt-get install npm")
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as folder:
        done = subprocess.run(
            [npm, "pack", "--silent", f"@ohif/app@{VERSION}"], cwd=folder, capture_output=True, text=True
        )
        packed = Path(folder) / f"ohif-app-{VERSION}.tgz"
        if done.returncode or not packed.is_file():
            raise RuntimeError(f"npm did not bring @ohif/app@{VERSION}:\n{done.stderr[-1000:]}")
        if hashlib.sha512(packed.read_bytes()).hexdigest() != SHA512:
            raise RuntimeError(f"@ohif/app@{VERSION} is not the package that was tried (sha512 differs)")
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
        (Path(folder) / "package").rename(FOLDER)
    return FOLDER / "dist"


if __name__ == "__main__":
    print(fetch())
