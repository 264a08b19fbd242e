"""Where a GRPO round's time goes, and what is won over TRL as it comes; all variants in one run, on the same questions.

    python -m benchmarks.grpo_step WORKSPACE [--rounds N]

WORKSPACE is a finished run of `medreasoner run` (its dataset and cold start are used, and its config's GRPO settings).
Each variant is the real worker in a process of its own: `plain` leaves TRL alone, `pictures` sees a picture once for
all its rollouts, `both` reads the prompt once as well, which is what the worker does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

from medreasoner_monai.settings.loading import load_settings
from medreasoner_monai.training.launch import METRICS, _environment, read_rows

VARIANTS = {
    "plain": "w.see_pictures_once = w.read_prompts_once = lambda model: None",
    "pictures": "w.read_prompts_once = lambda model: None",
    "both": "pass",
}
SHARES = ("rollout", "logprobs", "reward", "update", "other")


def newest(workspace: Path, kind: str) -> Path:
    return max((workspace / "artifacts").glob(f"{kind}-*"), key=lambda p: p.stat().st_mtime)


def run(variant: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    folder = Path(job["folder"])
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job))
    code = f"import medreasoner_monai.training.grpo_worker as w\n{VARIANTS[variant]}\nw.main(w.train)"
    command = [sys.executable, "-c", code, str(folder / "job.json")]
    with (folder / "log").open("w") as log:
        subprocess.run(command, check=True, env=_environment(), stdout=log, stderr=log)
    return [row for row in read_rows(folder / METRICS) if "time/wall_s" in row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--config", type=Path, default=Path("configs/starter.yaml"))
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    settings = load_settings(given.config, [f"grpo.steps={given.rounds}", "grpo.validate_samples=0"])
    dataset = newest(given.workspace, "dataset")
    seconds, rewards = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for variant in VARIANTS:
            job = {
                "model": str(newest(given.workspace, "cold-start")),
                "train": str(dataset / "train.parquet"),
                "val": str(dataset / "val.parquet"),
                "folder": f"{scratch}/{variant}",
                "prompt": settings.model.prompt,
                "settings": settings.grpo.model_dump(mode="json"),
                "attention": "auto",
                "threads": given.threads,
            }
            rows = run(variant, job)[1:]  # the first round also warms up
            seconds[variant] = median(row["time/wall_s"] for row in rows)
            rewards[variant] = [row["reward"] for row in rows]
            shares = ", ".join(f"{name} {mean(row[f'time/{name}_share'] for row in rows):.0%}" for name in SHARES)
            print(
                f"{variant:9} {seconds[variant]:5.2f} s a round, {seconds[variant] / seconds['plain']:.2f} ({shares})"
            )
    print("rewards of the rounds:", {name: [round(r, 4) for r in values] for name, values in rewards.items()})


if __name__ == "__main__":
    main()
