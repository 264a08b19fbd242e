"""Files of npm packages that lie in this repository: where each came from, and how it is fetched anew.

    python -m tests.review.vendored

The review page must not fetch anything from elsewhere, and the tests run without a network.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Vendored:
    """One file of one package; ``package_sha512`` is of the package as npm serves it, ``sha256`` of the file."""

    package: str
    package_sha512: str
    member: str
    path: Path
    sha256: str


FILES = (
    Vendored(
        "@niivue/niivue@0.69.0",
        "60c8d0bc9803d56d9bec3ba8c64c250b85716eb80878f449e6ac90cd72b18b6b"
        "f6301560dbce4ffc2210ca0e3aa030c60c871a3656ddf8c86d3bf79d31b5c990",
        "package/dist/niivue.umd.js",
        ROOT / "medreasoner_monai/review/static/vendor/niivue.umd.js",
        "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af",
    ),
    Vendored(
        "axe-core@4.14.1",
        "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
        "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5",
        "package/axe.min.js",
        ROOT / "tests/review/vendor/axe.min.js",
        "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c",
    ),
)


def fetch(one: Vendored) -> None:
    """Take a file out of its package.

    Raises
    ------
    RuntimeError
        If npm is missing or fails, or what it brings is not what was tried.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm was not found, which fetches packages: apt-get install npm")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", one.package], cwd=folder, check=True)
        (packed,) = Path(folder).glob("*.tgz")
        if hashlib.sha512(packed.read_bytes()).hexdigest() != one.package_sha512:
            raise RuntimeError(f"{one.package} is not the package that was tried (sha512 differs)")
        with tarfile.open(packed) as archive:
            archive.extract(one.member, folder, filter="data")
        shutil.copyfile(Path(folder) / one.member, one.path)


if __name__ == "__main__":
    for file in FILES:
        fetch(file)
        print(file.path)
