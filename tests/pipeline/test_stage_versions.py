"""No stage's code changes without somebody saying whether its results do."""

from __future__ import annotations

import json

from medreasoner_monai.pipeline.code import reach
from tests.pipeline.stage_digests import TABLE, current, stages

NEXT = (
    "raise the version in its <stage>_stage.py if results change; then run `python -m tests.pipeline.stage_digests` "
    "(with `--unchanged STAGE …` for stages whose results stay the same) and commit the table"
)


def test_the_committed_table_is_of_this_code() -> None:
    committed, now = json.loads(TABLE.read_text()), current()
    changed = [name for name in now if committed.get(name) != now[name]]
    assert not changed, f"{', '.join(changed)}: {NEXT}"
    assert set(committed) == set(now)


def test_every_stage_of_the_flows_declares_itself() -> None:
    from flows.common import STAGES

    assert set(stages()) == set(STAGES)
    assert all(stage.version >= 1 and stage.code for stage in stages().values())
    kinds = [stage.kind for stage in stages().values()]
    assert len(set(kinds)) == len(kinds), "two stages with one kind could take each other's artifacts"


def test_a_change_of_the_report_or_a_plot_runs_no_stage_again() -> None:
    for name, stage in stages().items():
        seen = {module.split(".")[0] for module in reach(stage.code)}
        assert not seen & {"report", "cli", "integrations"}, name
        assert "training.curves" not in reach(stage.code)
