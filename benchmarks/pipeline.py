"""How long the pipeline takes where nothing is to be done: a command's start, and a chain whose stages are all reused.

    python benchmarks/pipeline.py WORKSPACE [--config configs/starter.yaml] [--rounds 5] [--earlier PYTHON WORKSPACE]

WORKSPACE is one that a run of the config has finished in. With ``--earlier`` the same is measured with another
installation (its Python and a workspace that it finished), by turns, so that a machine that is busy for a while slows
both. Medians, in seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median


def seconds(python: str, *arguments: str) -> float:
    """What a command takes from start to end."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    command = [python, "-m", "medreasoner_monai", *arguments]
    started = time.perf_counter()
    done = subprocess.run(
        command, env=variables, cwd=Path(python).parents[2], capture_output=True, text=True, check=False
    )
    taken = time.perf_counter() - started
    assert done.returncode == 0, done.stderr[-2000:]
    if arguments[0] == "run":
        assert "reused" in done.stderr, "nothing was reused; finish a run in the workspace first"
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--config", default="configs/starter.yaml")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--earlier", nargs=2, metavar=("PYTHON", "WORKSPACE"))
    arguments = parser.parse_args()
    sides = {"this": (str(Path(sys.executable).absolute()), str(arguments.workspace.resolve()))}
    if arguments.earlier:
        sides["earlier"] = (str(Path(arguments.earlier[0]).absolute()), str(Path(arguments.earlier[1]).resolve()))
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for side, (python, workspace) in sides.items():
            run = ("run", "--plain", "--config", arguments.config, "--workspace", workspace)
            for what, command in (("--help", ("--help",)), ("reused chain", run)):
                taken.setdefault((what, side), []).append(seconds(python, *command))
    for (what, side), found in taken.items():
        print(f"{what:13} {side:8} {median(found):6.2f} s   ({min(found):.2f} to {max(found):.2f})")


if __name__ == "__main__":
    main()
