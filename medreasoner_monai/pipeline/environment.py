"""Environment variables that keep the libraries quiet and offline."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def quiet_environment(home: Path | None = None) -> None:
    """Telemetry of Prefect and MLflow off, Prefect's own log lines out of the terminal; before either is imported."""
    values = {
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_CLI_PROMPT": "false",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
    }
    if shutil.which("nvidia-smi") is None:
        values["DS_ACCELERATOR"] = "cpu"  # or DeepSpeed looks for one and says so, in every process
    if home is not None:
        values["PREFECT_HOME"] = str(home)
    for name, value in values.items():
        os.environ.setdefault(name, value)
