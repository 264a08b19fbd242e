"""What a workspace shows at its top, and what of it can be copied away."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path

from medreasoner_monai.pipeline.earlier import import_earlier
from medreasoner_monai.pipeline.folders import replace_folder
from medreasoner_monai.pipeline.store import Store
from medreasoner_monai.pipeline.workspace import Workspace


def finished(space: Workspace, text: str) -> str:
    record = space.runs.start(name="x", chain="retrain", config="", overrides=(), settings={}, trigger="command line")
    folder = space.runs.folder(record.id)
    (folder / "grounding").mkdir()
    for name in ("report.html", "summary.json", "grounding/seg.dcm"):
        (folder / name).write_text(text)
    space.show_latest(record.id)
    return record.id


def bundle(folder: Path, text: str) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "weights").write_bytes(text.encode() * (1 << 20))
    (folder / "config.json").write_text(text)
    return folder


def test_the_top_shows_the_latest_run(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    for text in ("first", "second"):
        finished(space, text)
        assert {(tmp_path / n).read_text() for n in ("report.html", "summary.json", "grounding/seg.dcm")} == {text}
    assert sorted((space.runs.folder(i) / "report.html").read_text() for i in space.runs.ids()) == ["first", "second"]


def test_bundle_and_grounding_are_folders_that_can_be_copied(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "space")
    finished(space, "text")
    space.publish_bundle(bundle(tmp_path / "artifact", "b"))
    for name in ("bundle", "grounding"):
        subprocess.run(["cp", "-r", str(space.root / name), str(tmp_path / name)], check=True)
        assert not (tmp_path / name).is_symlink()
    shutil.rmtree(space.root)
    assert (tmp_path / "bundle" / "config.json").read_text() == "b"
    assert (tmp_path / "grounding" / "seg.dcm").read_text() == "text"


def test_weights_lie_on_the_disk_once_and_configs_may_be_edited(tmp_path: Path) -> None:
    source = bundle(tmp_path / "artifact", "b")
    replace_folder(tmp_path / "bundle", source)
    assert (tmp_path / "bundle" / "models" / "weights").samefile(source / "models" / "weights")
    (tmp_path / "bundle" / "config.json").write_text("edited")
    assert (source / "config.json").read_text() == "b"


def test_who_reads_meets_the_old_or_the_new_bundle(tmp_path: Path) -> None:
    old, new = bundle(tmp_path / "old", "o"), bundle(tmp_path / "new", "n")
    target, stop, seen, lost = tmp_path / "bundle", threading.Event(), set(), []
    replace_folder(target, old)

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add((target / "config.json").read_text())
            except OSError as error:
                lost.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        replace_folder(target, new)
        replace_folder(target, old)
    stop.set()
    reader.join()
    assert not lost and seen <= {"o", "n"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "new", "old"]


def test_an_open_file_outlives_the_bundle_it_came_from(tmp_path: Path) -> None:
    replace_folder(tmp_path / "bundle", bundle(tmp_path / "old", "o"))
    with (tmp_path / "bundle" / "config.json").open() as served:
        replace_folder(tmp_path / "bundle", bundle(tmp_path / "new", "n"))
        assert served.read() == "o"


def earlier_workspace(root: Path) -> str:
    """As the first layout left it: files at the top, a relative link to the bundle's artifact."""
    store = Store(root / "artifacts")
    with store.make("bundle", "k", {}, {}) as draft:
        bundle(draft.path / "medreasoner_grounding", "b")
    made = store.find("bundle", "k")
    assert made is not None
    summary = {"name": "starter", "box_iou": {"grpo": 0.49}, "decision": "promote", "reasons": ["better"],
               "seconds": {"package": 2.5}, "digests": {"package": made.digest, "ground": "unknown"}}  # fmt: skip
    (root / "summary.json").write_text(json.dumps(summary))
    (root / "report.html").write_text("<html>")
    (root / "bundle").symlink_to(made.path.relative_to(root) / "medreasoner_grounding")
    return made.digest


def test_an_earlier_versions_workspace_becomes_a_run(tmp_path: Path) -> None:
    digest = earlier_workspace(tmp_path)
    space = Workspace(tmp_path)
    id_ = import_earlier(space)
    assert id_ is not None and import_earlier(space) is None
    record = space.runs.load("latest")
    assert record.id == id_ and record.status == "finished" and record.decision == "promote"
    assert record.artifacts["package"].ref.digest == digest and set(record.artifacts) == {"package"}
    assert record.figures == {"box_iou": {"grpo": 0.49}}
    assert (tmp_path / "report.html").read_text() == "<html>" and (tmp_path / "report.html").is_symlink()
    assert not (tmp_path / "bundle").is_symlink() and (tmp_path / "bundle" / "config.json").read_text() == "b"


def test_a_new_workspace_has_nothing_to_import(tmp_path: Path) -> None:
    assert import_earlier(Workspace(tmp_path / "new")) is None


def test_paths_lie_below_the_root(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "run")
    assert space.relative(space.root / "report.html") == "report.html"
    assert space.mlflow_uri == f"sqlite:///{tmp_path.resolve()}/run/mlflow/mlflow.db"
    assert space.mlflow_artifacts.startswith("file:///")
