"""Four evaluations at once against one after the other, as processes of their own: `medreasoner evaluate` each.

    python benchmarks/at_once.py MODEL DATA.parquet [--rounds 3] [--count 4]

MODEL is a model folder or bundle. Both ways are taken by turns; medians, in seconds, and their ratio. All results must be
the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median


def start(model: Path, data: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "medreasoner_monai", "evaluate", "--reasoner", str(model), "--data", str(data)]
    command += ["--out", str(out), "--max-new-tokens", "64", "--no-surface"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(model: Path, data: Path, count: int, *, at_once: bool) -> tuple[float, set[float]]:
    """Seconds for all, and the different mean box IoUs that came out."""
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / str(n) for n in range(count)]
        started = time.perf_counter()
        if at_once:
            running = [start(model, data, out) for out in outs]
            assert all(process.wait() == 0 for process in running)
        else:
            assert all(start(model, data, out).wait() == 0 for out in outs)
        taken = time.perf_counter() - started
        means = {json.loads((o / "metrics.json").read_text())["overall"]["box_iou"]["mean"] for o in outs}
    return taken, means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=4)
    arguments = parser.parse_args()
    taken: dict[bool, list[float]] = {False: [], True: []}
    means: set[float] = set()
    for _ in range(arguments.rounds):
        for at_once in (False, True):
            found, said = measure(arguments.model, arguments.data, arguments.count, at_once=at_once)
            taken[at_once].append(found)
            means |= said
    one, all_ = median(taken[False]), median(taken[True])
    print(f"one after the other {one:.1f} s, {arguments.count} at once {all_:.1f} s, ratio {all_ / one:.2f}")
    print(f"mean box IoU of every one: {', '.join(str(m) for m in sorted(means))}")
    assert len(means) == 1, "results differ"


if __name__ == "__main__":
    main()
