"""What `medreasoner bundle verify` sees, and what it does not let pass."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medreasoner_monai.bundle.metadata import check_metadata
from medreasoner_monai.bundle.verify import Check, verify_bundle
from medreasoner_monai.errors import ArtifactError, InputError
from tests.bundle.test_packaging import SCHEMA


@pytest.fixture
def bundle(untrained_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained_bundle, tmp_path / "copy"))


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_fresh_bundle_passes_every_check(bundle: Path) -> None:
    schema = SCHEMA if SCHEMA.is_file() else None
    steps: list[tuple[int, int]] = []
    checks = verify_bundle(bundle, schema=schema, progress=lambda *step: steps.append(step))
    states = {check.name: check.state for check in checks}
    assert states.pop("metadata schema") == ("passed" if schema else "skipped")
    assert [c for c in checks if c.state == "failed"] == []
    assert {"workflow properties", "network in and out", "run"} < set(states)
    assert steps[-1] == (len(checks), len(checks))
    assert not (bundle / "eval").exists(), "nothing is written into the bundle"


def _edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("files", lambda b: (b / "LICENSE").unlink(), "missing: LICENSE"),
        ("files", lambda b: (b / "docs/more").symlink_to("/etc/hostname"), "links lead out"),
        ("model weights", lambda b: (b / "models/reasoner/config.json").write_text("{}"), "has changed since"),
        (
            "segmenter",
            lambda b: _edit(b / "configs/inference.json", lambda c: c.update(segmenter_name="sam:weights=gone.pth")),
            "weights gone.pth are not in the bundle",
        ),
        ("large files", lambda b: (b / "models/big.bin").write_bytes(bytes(26 << 20)), "over 25 MB and not in"),
        (
            "configs",
            lambda b: _edit(b / "configs/evaluate.json", lambda c: c.update(data="/data/test.parquet")),
            "outside the bundle",
        ),
        ("metadata", lambda b: _edit(b / "configs/metadata.json", lambda c: c.pop("task")), "task: Field required"),
        (
            "model card",
            lambda b: (b / "docs/README.md").write_text("A model."),
            "does not say that this is for research",
        ),
    ],
)
def test_damage_is_named_and_the_other_checks_go_on(
    bundle: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    damage(bundle)
    checks = by_name(verify_bundle(bundle, quick=True))
    assert checks[name].state == "failed" and message in checks[name].text
    assert [c.name for c in checks.values() if c.state == "failed"] == [name]


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a bundle"):
        verify_bundle(tmp_path)


def test_our_check_of_the_metadata_refuses_what_monais_schema_refuses(bundle: Path) -> None:
    if not SCHEMA.is_file():
        pytest.skip("the MONAI schema is not beside the repository (../shared/data/monai_bundle_schema)")
    import jsonschema

    schema = json.loads(SCHEMA.read_text())
    content = json.loads((bundle / "configs/metadata.json").read_text())
    jsonschema.validate(content, schema)
    check_metadata(content)
    for field in schema["required"]:
        less = {k: v for k, v in content.items() if k != field}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(less, schema)
        with pytest.raises(ArtifactError, match=field):
            check_metadata(less)


def test_a_package_that_is_not_there_and_a_version_without_a_change_are_named(bundle: Path) -> None:
    content = json.loads((bundle / "configs/metadata.json").read_text())
    with pytest.raises(ArtifactError, match="no-such-thing, which the bundle needs, is not installed"):
        check_metadata({**content, "required_packages_version": {"no-such-thing": "1.0"}})
    with pytest.raises(ArtifactError, match="version 9.9.9 is not in the changelog"):
        check_metadata({**content, "version": "9.9.9"})
    assert "other versions: numpy" in check_metadata({**content, "required_packages_version": {"numpy": "0.1"}})
