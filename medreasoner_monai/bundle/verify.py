"""Every check of a packaged bundle, offline: what lies in it first, then what runs."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.bundle.contents import METADATA, Bundle, build_segmenter
from medreasoner_monai.bundle.metadata import check_metadata
from medreasoner_monai.bundle.packaging import LARGE
from medreasoner_monai.errors import ArtifactError, InputError, MedReasonerError
from medreasoner_monai.files import file_digest
from medreasoner_monai.grounding.outputs import ANSWER, CAPTURE, OVERLAY, REPORT
from medreasoner_monai.grounding.request import Progress
from medreasoner_monai.reasoners.packaged import CONFIG
from medreasoner_monai.segmenters.registry import Choice

if TYPE_CHECKING:
    from rich.table import Table

WORKFLOWS = ("inference", "ground_series", "evaluate", "train")
_FILES = (
    *(f"configs/{name}.json" for name in WORKFLOWS),
    METADATA,
    "configs/logging.conf",
    "docs/README.md",
    "LICENSE",
)
_SIDE = 64
"""Pixels a side of the made picture that the network is tried on."""


@dataclass(frozen=True)
class Check:
    """One check: ``text`` says what was seen, or what is wrong and what to do."""

    name: str
    state: Literal["passed", "failed", "skipped"]
    text: str


def verify_bundle(
    root: Path, *, schema: Path | None = None, quick: bool = False, progress: Progress | None = None
) -> list[Check]:
    """Check a bundle; a failed check does not stop the others.

    Parameters
    ----------
    root:
        The bundle's folder.
    schema:
        MONAI's metadata schema as a JSON file, for MONAI's own ``verify_metadata``; without it that check is skipped.
    quick:
        Leave out what loads the model.

    Raises
    ------
    InputError
        If it is not a bundle at all, or has no model in it.
    """
    bundle = Bundle.open(root)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("files", lambda: _files(root)),
        ("model weights", lambda: _weights(bundle)),
        ("segmenter", lambda: _segmenter(bundle)),
        ("large files", lambda: _large_files(root)),
        ("configs", lambda: _configs(root)),
        ("metadata", lambda: _metadata(root)),
        ("metadata schema", lambda: _schema(root, schema)),
        ("model card", lambda: _card(root)),
    ]
    if not quick:
        checks += [
            ("workflow properties", lambda: _properties(root)),
            ("network in and out", lambda: _in_out(root)),
            ("run", lambda: _run(root)),
        ]
    results = []
    for number, (name, check) in enumerate(checks, 1):
        results.append(_try(name, check))
        if progress is not None:
            progress(number, len(checks))
    return results


def render(checks: Sequence[Check]) -> Table:
    """The checks for people."""
    from rich.table import Table
    from rich.text import Text

    styles = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
    table = Table(title="Bundle", title_justify="left")
    for column in ("check", "result"):
        table.add_column(column, no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for check in checks:
        table.add_row(check.name, Text(check.state, styles[check.state]), Text(check.text))
    return table


class _SkipError(Exception):
    """The check cannot be made here."""


def _try(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", check())
    except _SkipError as reason:
        return Check(name, "skipped", str(reason))
    except MedReasonerError as error:
        return Check(name, "failed", str(error))
    except Exception as error:  # MONAI and torch raise many kinds
        cause = error
        while cause.__cause__ is not None and isinstance(cause.__cause__, Exception):
            cause = cause.__cause__
        return Check(name, "failed", f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}")


def _files(root: Path) -> str:
    if missing := [name for name in _FILES if not (root / name).is_file()]:
        raise ArtifactError(f"missing: {', '.join(missing)}; package the bundle again")
    links = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_symlink()]
    if links:
        raise ArtifactError(f"links lead out of a copied bundle: {', '.join(links[:3])}; put the files in their place")
    return f"{len(_FILES)} needed files are there"


def _weights(bundle: Bundle) -> str:
    bundle.verify()
    return f"{len(bundle.lineage['files'])} files have the digests noted at packaging"


def _segmenter(bundle: Bundle) -> str:
    text = str(bundle.config["segmenter_name"])
    weights = Choice.read(text).options.get("weights")
    if weights is not None and not (bundle.root / weights).exists():
        raise ArtifactError(f"the segmenter's weights {weights} are not in the bundle; package it again")
    return f"{build_segmenter(text, bundle.root).name} was made"


def _large_files(root: Path) -> str:
    big = {
        str(p.relative_to(root)): p for p in (root / "models").rglob("*") if p.is_file() and p.stat().st_size > LARGE
    }
    listing = root / "large_files.yml"
    entries = yaml.safe_load(listing.read_text(encoding="utf-8"))["large_files"] if listing.is_file() else []
    listed = {entry["path"]: entry for entry in entries}
    if unlisted := sorted(set(big) - set(listed)):
        raise ArtifactError(f"{unlisted[0]} is over 25 MB and not in large_files.yml; package the bundle again")
    for name, path in big.items():
        if listed[name]["hash_type"] != "sha256" or listed[name]["hash_val"] != file_digest(path):
            raise ArtifactError(f"{name} has another sha256 than large_files.yml says; package the bundle again")
    if absent := sorted(set(listed) - set(big)):
        raise ArtifactError(f"large_files.yml lists {absent[0]}, which is not here; fetch it from its url")
    return f"{len(big)} files over 25 MB, all listed" if big else "no file over 25 MB"


def _configs(root: Path) -> str:
    for name in WORKFLOWS:
        path = root / f"configs/{name}.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        if "run" not in config or config.get("bundle_root") != ".":
            raise ArtifactError(f"{path.name} has no run, or a bundle_root that is not '.'; package the bundle again")
        if outside := [text for text in _texts(config) if text.startswith(("/", "~")) or "://" in text]:
            raise ArtifactError(f"{path.name} names {outside[0]!r}, which is outside the bundle; use a relative path")
    return f"{', '.join(WORKFLOWS)}: no path leads out of the bundle"


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def _metadata(root: Path) -> str:
    return check_metadata(json.loads((root / METADATA).read_text(encoding="utf-8")))


def _schema(root: Path, schema: Path | None) -> str:
    if schema is None:
        raise _SkipError("MONAI's schema is not part of its package; give it with --schema to run verify_metadata too")
    if not schema.is_file():
        raise InputError(f"there is no file {schema}; --schema is MONAI's metadata schema as JSON")
    from monai.bundle.scripts import verify_metadata

    with tempfile.TemporaryDirectory() as folder:
        # verify_metadata may write where the schema lies, and fetches it where it does not.
        copy = Path(shutil.copyfile(schema, Path(folder) / "schema.json"))
        verify_metadata(meta_file=str(root / METADATA), filepath=str(copy))
    return f"MONAI's verify_metadata agrees ({schema.name})"


def _card(root: Path) -> str:
    text = (root / "docs/README.md").read_text(encoding="utf-8")
    if RESEARCH_USE not in text:
        raise ArtifactError("docs/README.md does not say that this is for research use; package the bundle again")
    if "{{" in text or "{%" in text:
        raise ArtifactError("docs/README.md is a template that nobody filled; package the bundle again")
    return "training data, figures, limits and research use are stated"


@contextmanager
def _trusted() -> Iterator[None]:
    """MONAI warns that a config runs code; the command's help has said so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _properties(root: Path) -> str:
    from monai.bundle.scripts import create_workflow

    with tempfile.TemporaryDirectory() as folder, _trusted():
        workflow = create_workflow(
            config_file=str(root / CONFIG), workflow_type="inference", bundle_root=str(root), output_dir=folder
        )
        missing = workflow.check_properties()
    if missing:
        raise ArtifactError(f"inference.json lacks {', '.join(missing)}; package the bundle again")
    return "inference.json has all that MONAI asks of an inference workflow"


def _in_out(root: Path) -> str:
    from monai.bundle.scripts import verify_net_in_out

    with _trusted():
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(root / METADATA),
            config_file=str(root / CONFIG),
            any=_SIDE,
            bundle_root=str(root),
        )
    return f"a made picture of {_SIDE} x {_SIDE} gives a mask as the metadata says"


def _run(root: Path) -> str:
    from medreasoner_monai.bundle.process import run_bundle

    question = "What is the bright bone in the midline at the back?"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        run_bundle(root, out, Path(folder) / "bundle.log", None, question, None)
        missing = [name for name in (REPORT, CAPTURE, OVERLAY, ANSWER) if not (out / name).is_file()]
        if missing:
            raise ArtifactError(f"the run wrote no {', '.join(missing)}")
        (finding,) = json.loads((out / ANSWER).read_text(encoding="utf-8"))["findings"]
    return f"`python -m monai.bundle run` on the example CT: {finding['status']}"
