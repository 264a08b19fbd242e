"""A bundle run as a platform would run it: ``python -m monai.bundle run`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from medreasoner_monai.errors import InputError, StageFailedError
from medreasoner_monai.pipeline.processes import die_with_parent


def run_bundle(root: Path, out: Path, log: Path, dicom: Path | None, question: str, series: str | None) -> None:
    """Run a bundle's inference as a platform would, in a process of its own.

    Raises
    ------
    InputError, StageFailedError
        With the run's own last line: for the user's mistake (exit code 2), for anything else.
    """
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--question", question, "--output_dir", str(out.resolve())]
    command += ["--dicom_dir", str(dicom.resolve())] if dicom else []
    command += ["--series_uid", series] if series else []
    with log.open("wb") as stream:
        done = subprocess.run(
            command,
            cwd=root,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
            preexec_fn=die_with_parent,
            check=False,
        )
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        message = said[-1] if said else f"the bundle ended with exit code {done.returncode}, see {log}"
        raise InputError(message) if done.returncode == InputError.exit_code else StageFailedError(message)
