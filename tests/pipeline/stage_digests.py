"""The committed table of stage versions and the code they stand for: ``python -m tests.pipeline.stage_digests``."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from medreasoner_monai.pipeline.code import code_digest
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.segmenters.registry import ENGINES, engine_version

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_suffix(".json")


def stages() -> dict[str, Stage]:
    """Every stage of the chain by name, as its ``<stage>_stage.py`` declares it."""
    found = {}
    for path in sorted((ROOT / "medreasoner_monai").glob("*/*_stage.py")):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if hasattr(module, "STAGE"):
            found[module.STAGE.name] = module.STAGE
    return found


def current() -> dict[str, dict[str, object]]:
    """Version and code digest of each stage, and of each segmenter that a config may name, as they are now."""
    of_stages = {
        name: {"version": stage.version, "code": code_digest(*stage.code)} for name, stage in sorted(stages().items())
    }
    of_segmenters = {
        f"segmenter {name}": {
            "version": engine_version(name),
            "code": code_digest(*(f"segmenters.{module}" for module in engine.modules)),
        }
        for name, engine in sorted(ENGINES.items())
    }
    return of_stages | of_segmenters


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write the table of stage versions. Raise a stage's version when its results change; with "
        "--unchanged you state that the results of stages whose code changed are the same."
    )
    parser.add_argument("--unchanged", nargs="*", default=[], metavar="STAGE", help="stages whose results are the same")
    arguments = parser.parse_args()
    old, new = json.loads(TABLE.read_text()) if TABLE.is_file() else {}, current()
    for name, entry in new.items():
        before = old.get(name)
        if before is None or before == entry or entry["version"] != before["version"] or name in arguments.unchanged:
            continue
        raise SystemExit(
            f"the code of {name} has changed and its version has not: raise it, or state --unchanged {name}"
        )
    TABLE.write_text(json.dumps(new, indent=2) + "\n")


if __name__ == "__main__":
    main()
