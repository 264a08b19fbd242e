"""What decides the masks of a chosen segmenter, without building it."""

from __future__ import annotations

import ast
import hashlib
import os
from pathlib import Path

import pytest

import medreasoner_monai.segmenters
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.segmenters import weights as weights_module
from medreasoner_monai.segmenters.registry import ENGINES, build, engine_version, identity

ROOM = Path(medreasoner_monai.segmenters.__file__).parent


def test_the_identity_is_of_engine_version_options_and_weights_not_of_their_place(tmp_path: Path) -> None:
    one, two = tmp_path / "medsam_vit_b.pth", tmp_path / "deep" / "medsam_vit_b.pth"
    two.parent.mkdir()
    for path in (one, two):
        path.write_bytes(b"weights")
    found = identity(f"mine=sam:weights={one},device=cpu,seed=3")
    assert found == {
        "label": "mine",
        "engine": "sam",
        "version": engine_version("sam"),
        "prompts": ["box"],
        "options": {"seed": "3"},
        "weights": hashlib.sha256(b"weights").hexdigest(),
    }
    assert identity(f"mine=sam:weights={two},seed=3") == found
    two.write_bytes(b"other weights")
    assert identity(f"mine=sam:weights={two},seed=3") != found
    assert identity("classical")["weights"] is None and identity("classical") != identity("ellipse")


def test_what_cannot_be_built_has_no_identity(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no segmenter 'classic'.* Did you mean 'classical'"):
        identity("classic")
    with pytest.raises(ConfigError, match="has no option 'size'"):
        identity("ellipse:size=3")
    with pytest.raises(InputError, match="absent.pth cannot be read"):
        identity(f"sam:weights={tmp_path / 'absent.pth'}")


def test_a_file_is_hashed_once_while_it_stays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    digest = weights_module.file_digest
    monkeypatch.setattr(weights_module, "file_digest", lambda p: (hashed.append(p), digest(p))[1])
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    first = identity(f"sam2:weights={path}")["weights"]
    assert identity(f"sam2:weights={path},variant=small")["weights"] == first and len(hashed) == 1
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert identity(f"sam2:weights={path}")["weights"] == hashlib.sha256(b"two").hexdigest() and len(hashed) == 2


def test_a_folder_counts_by_its_config_and_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = identity(f"sam2:weights={tmp_path}")["weights"]
    (tmp_path / "README.md").write_text("notes")
    assert identity(f"sam2:weights={tmp_path}")["weights"] == first
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert identity(f"sam2:weights={tmp_path}")["weights"] != first


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("classical", ["points", "box", "both"]),
        ("sam:random=true", ["points", "box", "both"]),
        ("sam:random=true,variant=medsam", ["box"]),
        ("sam:random=true,prompts=box", ["box"]),
        ("sam-med2d:random=true", ["points", "box", "both"]),
        ("sam2:random=true,variant=tiny", ["points", "box", "both"]),
        ("sam2:random=true,variant=medsam2", ["box"]),
        ("sam2:random=true,variant=medsam2,prompts=all", ["points", "box", "both"]),
    ],
)
def test_the_prompts_an_engine_is_sent_are_those_its_weights_were_trained_on(text: str, kinds: list[str]) -> None:
    assert identity(text)["prompts"] == kinds


def test_a_built_engine_states_the_same_prompts() -> None:
    medsam2 = build("sam2", random=True, variant="medsam2", image_size=64)
    assert medsam2.prompt_kinds == ("box",)
    every = build("sam2", random=True, variant="medsam2", image_size=64, prompts="all")
    assert every.prompt_kinds == ("points", "box", "both") and every.digest != medsam2.digest
    with pytest.raises(ConfigError, match="`prompts` is box or all, got 'points'"):
        build("sam2", random=True, prompts="points")


@pytest.mark.parametrize("name", ENGINES)
def test_the_modules_of_an_engine_are_all_that_its_factory_reaches(name: str) -> None:
    reached: set[str] = set()
    waiting = [ENGINES[name].factory.partition(":")[0]]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += _imports(module)
    assert set(ENGINES[name].modules) == reached
    assert ENGINES[name].version.partition(":")[0] in reached
    assert isinstance(engine_version(name), int)


def _imports(module: str) -> list[str]:
    """Modules of the same room that one imports anywhere, types alone included."""
    prefix = "medreasoner_monai.segmenters"
    found = []
    for node in ast.walk(ast.parse((ROOM / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith(prefix):
            rest = node.module.removeprefix(prefix).lstrip(".")
            found += [rest] if rest else [alias.name for alias in node.names]
    return found
