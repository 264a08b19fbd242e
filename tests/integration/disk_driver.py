"""Runs the chain and fills the workspace's file system when a stage begins: `disk_driver.py STAGE CONFIG DIR`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BALLAST = "ballast"


def fill(folder: Path) -> None:
    """Leave not a byte free."""
    with (folder / BALLAST).open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    ballast.write(b"\0" * size)
            except OSError:
                continue


def arm(stage: str, workspace: Path) -> None:
    from medreasoner_monai.pipeline import context
    from medreasoner_monai.report import report_stage

    if stage == "report":
        write = report_stage.write_report

        def fill_and_write(*arguments: Any) -> None:
            fill(workspace)
            write(*arguments)

        report_stage.write_report = fill_and_write
        return
    run = context.run_stage

    def run_stage(store: Any, chosen: Any, make: Callable[[Any], None], **options: Any) -> Any:
        def fill_and_make(draft: Any) -> None:
            if chosen.name == stage:
                fill(workspace)
            make(draft)

        return run(store, chosen, fill_and_make, **options)

    context.run_stage = run_stage


if __name__ == "__main__":
    config, workspace = Path(sys.argv[2]), Path(sys.argv[3])
    arm(sys.argv[1], workspace)
    from medreasoner_monai.cli.app import main

    sys.argv[1:] = ["run", "--config", str(config), "--workspace", str(workspace)]
    main()
