"""A packaged bundle is complete, valid, and notices when it was changed."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
import yaml

from medreasoner_monai.bundle import packaging
from medreasoner_monai.bundle.contents import Bundle
from medreasoner_monai.bundle.packaging import bundle_source, evaluation_facts, metric_facts, package_bundle
from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.grounding.aggregate import Question
from medreasoner_monai.grounding.request import GroundingSettings, parse_slices
from medreasoner_monai.grounding.study import Study, plan_study
from medreasoner_monai.reasoners.calibration import Calibration
from tests.dicom.tools import carried
from tests.grounding.fakes import MiddleReasoner

SCHEMA = Path(__file__).parents[3] / "shared/data/monai_bundle_schema/meta_schema_20240725.json"
FACTS = {
    "version": "1.2.3",
    "changes": "trained longer",
    "trained_on": "3000 synthetic phantoms",
    "dataset_digest": "d" * 64,
    "metrics": [{"name": "box IoU", "value": 0.5123, "low": 0.49, "high": 0.53}, {"name": "samples", "value": 300}],
    "limits": ["Trained on phantoms only."],
    "lineage": {"dataset": "d1", "grpo": "g1"},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "merged"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "manifest.json").write_text("{}")
    return folder


def test_everything_is_there(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    package_bundle(model, out, FACTS)
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert files == [
        "LICENSE",
        "configs/evaluate.json",
        "configs/ground_series.json",
        "configs/inference.json",
        "configs/logging.conf",
        "configs/metadata.json",
        "configs/train.json",
        "docs/README.md",
        "models/lineage.json",
        "models/reasoner/config.json",
        "models/reasoner/model.safetensors",
    ]
    metadata = json.loads((out / "configs/metadata.json").read_text())
    assert metadata["version"] == "1.2.3" and metadata["changelog"] == {"1.2.3": "trained longer"}
    assert "highdicom" in metadata["required_packages_version"]
    card = (out / "docs/README.md").read_text()
    for part in (
        "version 1.2.3",
        "3000 synthetic phantoms",
        "d" * 64,
        "| box IoU | 0.512 | 0.490 to 0.530 |",
        "| samples | 300 | not computed |",
        "- Trained on phantoms only.",
        "Research use only",
        "| grpo | `g1` |",
    ):
        assert part in card
    assert "{{" not in card and "{%" not in card
    assert Bundle.open(out).lineage["made_from"] == {"dataset": "d1", "grpo": "g1"}
    Bundle.open(out).verify()


def test_the_card_says_when_there_was_no_evaluation(model: Path, tmp_path: Path) -> None:
    package_bundle(model, tmp_path / "bundle", {})
    assert "packaged without an evaluation" in (tmp_path / "bundle/docs/README.md").read_text()


def test_metadata_follows_the_schema(model: Path, tmp_path: Path) -> None:
    if not SCHEMA.is_file():
        pytest.skip("the MONAI schema is not beside the repository (../shared/data/monai_bundle_schema)")
    from monai.bundle import verify_metadata

    package_bundle(model, tmp_path / "bundle", FACTS)
    for root in (tmp_path / "bundle", bundle_source()):
        verify_metadata(meta_file=str(root / "configs/metadata.json"), filepath=str(SCHEMA))


def test_an_interrupted_attempt_is_replaced(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    (out / "models/reasoner").mkdir(parents=True)
    (out / "models/reasoner/half.safetensors").write_bytes(b"")
    package_bundle(model, out, FACTS)
    assert not (out / "models/reasoner/half.safetensors").exists()


def test_large_files_are_listed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging, "LARGE", 5)
    package_bundle(model, tmp_path / "bundle", {"large_files_url": "https://example.org/files/"})
    (entry,) = [
        e
        for e in yaml.safe_load((tmp_path / "bundle/large_files.yml").read_text())["large_files"]
        if e["path"].endswith("safetensors")
    ]
    assert entry["url"] == "https://example.org/files/models/reasoner/model.safetensors"
    assert entry["hash_type"] == "sha256" and len(entry["hash_val"]) == 64


def test_an_unknown_fact_and_a_folder_without_a_model_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown fact 'metric'.* Did you mean 'metrics'"):
        package_bundle(model, tmp_path / "bundle", {"metric": []})
    with pytest.raises(InputError, match="no config.json"):
        package_bundle(tmp_path, tmp_path / "bundle", {})


def test_changed_weights_are_noticed(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    package_bundle(model, out, FACTS)
    (out / "models/reasoner/model.safetensors").write_bytes(b"weighty")
    with pytest.raises(ArtifactError, match="model.safetensors has changed since the bundle was made"):
        Bundle.open(out).verify()


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a bundle"):
        Bundle.open(tmp_path)
    with pytest.raises(InputError, match="has no model under models/reasoner"):
        Bundle.open(bundle_source())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": " "}, "the question is empty"),
        ({"dicom": Path("nowhere")}, "nowhere: no such file"),
        ({"slices": "5"}, "slice 5 is asked for"),
        ({"slices": "few"}, "auto, all, or a slice number"),
    ],
)
def test_the_users_mistakes_are_found_before_the_model_is_loaded(
    model: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    package_bundle(model, tmp_path / "bundle", FACTS)
    asked = {"dicom": carried("CT_small.dcm"), "question": "Which?", "slices": "auto", **change}
    before = "transformers" in sys.modules
    with pytest.raises(InputError, match=message):
        plan_study(
            Study(asked["dicom"], (Question(asked["question"]),)),  # type: ignore[arg-type]
            GroundingSettings(parse_slices(asked["slices"])),  # type: ignore[arg-type]
        )
    assert ("transformers" in sys.modules) == before


def test_the_segmenters_weights_travel_with_the_bundle(model: Path, tmp_path: Path) -> None:
    weights = tmp_path / "elsewhere/medsam.pth"
    weights.parent.mkdir()
    weights.write_bytes(b"weights of a segmenter")
    out = tmp_path / "bundle"
    package_bundle(model, out, {"temperature": 0.5, "confidence_threshold": 0.6}, segmenter=f"sam:weights={weights}")
    digest = hashlib.sha256(b"weights of a segmenter").hexdigest()
    for name in ("inference", "evaluate"):
        config = json.loads((out / f"configs/{name}.json").read_text())
        assert config["segmenter_name"] == f"sam:weights=models/segmenter/medsam.pth,sha256={digest}"
    assert (out / "models/segmenter/medsam.pth").read_bytes() == weights.read_bytes()
    assert Bundle.open(out).settings() == GroundingSettings(temperature=0.5, threshold=0.6)
    with pytest.raises(InputError, match="there is no file .*gone.pth"):
        package_bundle(model, tmp_path / "other", {}, segmenter="sam:weights=gone.pth")


def test_an_evaluations_figures_are_facts(tmp_path: Path) -> None:
    metrics = {
        "samples": 9,
        "prompt_digest": "p",
        "overall": {"box_iou": {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 9}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert metric_facts(metrics) == [{"name": "box_iou", "value": 0.5, "low": 0.4, "high": 0.6}]
    with pytest.raises(InputError, match="holds no finished evaluation"):
        evaluation_facts(tmp_path)


def test_the_calibration_travels_with_the_bundle(model: Path, tmp_path: Path) -> None:
    table = Calibration((0.2, 0.8), (0.1, 0.4), answers=4, temperature=0.7, n=120)
    facts = {"temperature": 0.7, "confidence_threshold": 0.3, "calibration": table.as_dict()}
    package_bundle(model, tmp_path / "bundle", facts)
    bundle = Bundle.open(tmp_path / "bundle")
    assert bundle.settings() == GroundingSettings(temperature=0.7, threshold=0.3, calibration=table)
    # A model from elsewhere was not calibrated: an expected box IoU of 0.3 was an agreement of 0.6 here.
    other = bundle.grounder(segmenter="box", reasoner=MiddleReasoner())
    assert other.settings == GroundingSettings(temperature=0.7, threshold=0.6)
    for name in ("inference", "ground_series"):
        config = json.loads((tmp_path / f"bundle/configs/{name}.json").read_text())
        assert Calibration.read(config["calibration"]) == table
        assert config["asking"]["calibration"] == "@calibration"
