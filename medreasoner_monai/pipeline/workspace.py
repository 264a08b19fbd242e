"""A workspace: the folder in which runs, artifacts and tracking lie.

::

    artifacts/            what stages made (:mod:`~medreasoner_monai.pipeline.store`)
    runs/<id>/            run.json, report.html, summary.json and grounding/ of each run
    report.html …         the latest run's, by link; grounding/ as a copy
    bundle/               the bundle of the latest promoted model, a folder of its own that can be copied
    mlflow/, prefect/     their databases, unless servers are configured
    champions/            models fetched from a registry's server
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from medreasoner_monai.pipeline.folders import link_file, replace_folder
from medreasoner_monai.pipeline.remote import Remote
from medreasoner_monai.pipeline.runs import Runs
from medreasoner_monai.pipeline.store import Store

REPORT, SUMMARY, GROUNDING, BUNDLE = "report.html", "summary.json", "grounding", "bundle"


class Workspace:
    """Paths below one folder, its artifacts and its runs.

    Parameters
    ----------
    root:
        The folder; made when something is written.
    remote:
        The store behind it that machines share.
    """

    def __init__(self, root: Path, remote: Remote | None = None) -> None:
        self.root = root.resolve()
        self.remote = remote

    @cached_property
    def store(self) -> Store:
        """The artifacts."""
        return Store(self.root / "artifacts", self.remote)

    @cached_property
    def runs(self) -> Runs:
        """The runs."""
        return Runs(self.root / "runs")

    @property
    def mlflow_uri(self) -> str:
        """The tracking database, when no server is configured."""
        return f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> str:
        """Where MLflow keeps pictures and files, when no server is configured."""
        return (self.root / "mlflow" / "artifacts").as_uri()

    @property
    def champions(self) -> Path:
        """Models that were fetched from a registry's server."""
        return self.root / "champions"

    @property
    def prefect_home(self) -> Path:
        """Where Prefect keeps its database, when no server is configured."""
        return self.root / "prefect"

    def relative(self, path: Path) -> str:
        """A path as it reads from the workspace."""
        return str(path.resolve().relative_to(self.root))

    def show_latest(self, id_: str) -> None:
        """Let the workspace's top show a run's report, summary and grounding."""
        folder = self.runs.folder(id_)
        for name in (REPORT, SUMMARY):
            if (folder / name).is_file():
                link_file(self.root / name, folder / name)
        if (folder / GROUNDING).is_dir():
            replace_folder(self.root / GROUNDING, folder / GROUNDING)

    def publish_bundle(self, bundle: Path) -> None:
        """Put a promoted bundle where it is served from; nothing else ever touches what is served there."""
        replace_folder(self.root / BUNDLE, bundle)
