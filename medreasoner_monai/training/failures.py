"""What went wrong in a training of many ranks: the first cause, not what the others lost by it."""

from __future__ import annotations

import json
import re
from pathlib import Path

ERRORS = "errors"
"""Folder in a training's own, where each rank that ends with an error leaves a note."""
_LOST = re.compile(r"connection (closed|reset)|NCCL|process ?group|gloo|socket|broken pipe|store", re.IGNORECASE)
_KILLED = re.compile(r"Signal (\d+) \((SIG\w+)\) received by PID|exits with return code = -(\d+)")
_LINES = 400


def first_error(notes: Path, log_file: Path) -> str:
    """One line for the user: the first error of any rank that is more than the loss of another rank.

    Parameters
    ----------
    notes:
        Folder of ``rank-<r>.json`` with ``rank``, ``time``, ``type`` and ``message``; it may be absent.
    log_file:
        What the launcher, or a single rank, printed.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(notes.glob("rank-*.json"))]
    found.sort(key=lambda note: (_LOST.search(note["message"]) is not None, note["time"]))
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
    killed = _KILLED.search("\n".join(lines))
    if killed and (not found or _LOST.search(found[0]["message"])):
        signal = killed[2] or f"signal {killed[3]}"
        return f"a rank was killed by {signal}, for want of memory perhaps"
    if found:
        first = found[0]
        where = f" (rank {first['rank']})" if first["rank"] or len(found) > 1 else ""
        return f"{first['type']}: {first['message'].strip() or 'no words'}{where}"
    errors = [line.strip() for line in lines if "Error" in line and not line.startswith(" ")]
    return errors[0] if errors else next((line.strip() for line in reversed(lines) if line.strip()), "no output")
