"""Environment variables that keep the libraries quiet and offline. Each is set only where the user has not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_LIBRARIES = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_COMMAND_LINE = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
    # 14 seconds in place of a minute for each request to a server that is gone; the run goes on without it.
    "PREFECT_CLIENT_MAX_RETRIES": "3",
}


def quiet_libraries() -> None:
    """Telemetry of Prefect and MLflow off, models from this machine alone; wherever the flows run.

    To be called before the libraries are imported.
    """
    values = dict(_LIBRARIES)
    if shutil.which("nvidia-smi") is None:
        values["DS_ACCELERATOR"] = "cpu"  # or DeepSpeed looks for one and says so, in every process
    _set(values)


def quiet_environment(home: Path | None = None) -> None:
    """What the command line sets besides: Prefect's own log lines stay out of the terminal."""
    quiet_libraries()
    _set(_COMMAND_LINE | ({} if home is None else {"PREFECT_HOME": str(home)}))


def _set(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)
