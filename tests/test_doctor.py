"""The doctor: it recognises broken installations and survives them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from rich.console import Console

from medreasoner_monai import doctor
from medreasoner_monai.doctor import Check, can_run

HEALTHY = {"torch": "2.13.0+cu130", "build": "13.0", "gpus": [], "bf16": False, "torchvision": "0.28.0"}
NMS = "RuntimeError: operator torchvision::nms does not exist"


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return doctor.examine()


def test_the_tested_environment_can_run_the_demo(checks: list[Check]) -> None:
    assert can_run(checks), [c for c in checks if c.status in ("missing", "broken")]
    names = [c.name for c in checks]
    assert len(names) == len(set(names))
    assert {"Python", "torch", "torchvision", "GPU", "deepspeed", "trl", "prefect", "vLLM", "dciodvfy"} <= set(names)


def test_the_table_shows_every_check(checks: list[Check]) -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(doctor.render([*checks, Check("[odd]", "broken", "[/x] found", "do [this]")]))
    for text in (*(c.name for c in checks), "[odd]", "[/x] found", "do [this]"):
        assert text in out.getvalue()


def test_json_tells_the_same(checks: list[Check]) -> None:
    told = json.loads(doctor.as_json(checks))
    assert told["can_run"] is can_run(checks)
    assert [c["name"] for c in told["checks"]] == [c.name for c in checks]
    assert set(told["checks"][0]) == {"name", "status", "found", "remedy"}


def test_asking_for_versions_imports_nothing_heavy() -> None:
    code = (
        "import sys; from medreasoner_monai import doctor; doctor.check_libraries(doctor.wanted_versions());"
        "print([m for m in ('torch', 'transformers', 'mlflow', 'prefect', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("status", "runs"), [("ok", True), ("optional", True), ("missing", False), ("broken", False)])
def test_only_what_is_missing_or_broken_keeps_the_demo_from_running(status: doctor.Status, runs: bool) -> None:
    assert can_run([Check("a", "ok", "1"), Check("b", status, "2")]) is runs


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ("1.16.0", "ok"),
        ("1.17.0", "broken"),
        ("1.17.0rc1", "broken"),
        ("1.16.1rc1", "ok"),
        ("0.9", "broken"),
        (None, "missing"),
    ],
)
def test_a_version_is_held_against_its_range(found: str | None, status: str) -> None:
    check = doctor.check_version("trl", found, {"trl": SpecifierSet(">=1.10,<1.17")})
    assert check.status == status
    assert bool(check.remedy) == (status != "ok")


def test_ranges_come_from_this_packages_own_metadata() -> None:
    wanted = doctor.wanted_versions()
    assert "1.16.0" in wanted["trl"] and "99" not in wanted["trl"]
    assert "vllm" not in wanted and "pytest" not in wanted, "extras are not required"


def test_torchvision_of_another_torch_is_recognised() -> None:
    check = doctor.check_torchvision({"torch": "2.13.0+cpu", "build": None, "torchvision_error": NMS})
    assert check.status == "broken"
    assert "CPU-only" in check.found and "--reinstall" in check.remedy and "torchvision" in check.remedy


def test_another_torchvision_error_is_quoted() -> None:
    check = doctor.check_torchvision({"torchvision_error": "ImportError: libjpeg\n" + "x" * 500})
    assert check.status == "broken" and check.found.startswith("ImportError: libjpeg") and len(check.found) <= 200


def test_a_torch_that_takes_the_process_down_is_reported() -> None:
    probe = doctor.probe_torch("import os; os.abort()")
    check = doctor.check_torch(probe, {})
    assert check.status == "broken" and "-6" in check.found
    assert doctor.check_torchvision(probe).status == "broken"
    assert doctor.check_gpu(probe).status == "optional"


def test_a_torch_that_hangs_is_given_up() -> None:
    probe = doctor.probe_torch("import time; time.sleep(60)", seconds=0.5)
    assert "no answer within 0.5 s" in doctor.check_torch(probe, {}).found


def test_chatter_before_the_answer_does_not_matter() -> None:
    assert doctor.probe_torch("print('hello'); print('{\"torch\": \"1\"}')") == {"torch": "1"}


def test_gpus_are_listed_with_their_memory() -> None:
    check = doctor.check_gpu({**HEALTHY, "gpus": [["NVIDIA H200", 139.8], ["NVIDIA H200", 139.8]], "bf16": True})
    assert check.status == "ok"
    assert check.found == "NVIDIA H200 (140 GiB), NVIDIA H200 (140 GiB); bf16 yes"


@pytest.mark.parametrize(("build", "text"), [("13.0", "built for CUDA 13.0"), (None, "built for CPU only")])
def test_torch_says_what_it_was_built_for(build: str | None, text: str) -> None:
    assert text in doctor.check_torch({**HEALTHY, "build": build}, {}).found


@pytest.mark.parametrize(
    ("prefect", "fastapi", "status"),
    [
        ("3.7.7", "0.136.3", "ok"),
        ("3.7.7", "0.160.0", "ok"),
        ("3.8.8", "0.159.0", "ok"),
        ("3.8.8", "0.160.0", "broken"),
        ("3.8.8", None, "ok"),
    ],
)
def test_prefect_that_cannot_start_is_recognised(prefect: str, fastapi: str | None, status: str) -> None:
    assert doctor.check_prefect(prefect, fastapi, {}).status == status


@pytest.mark.parametrize(
    ("found", "status"), [("0.31.0", "ok"), ("0.24.0+cu129", "ok"), ("0.33.0", "optional"), (None, "optional")]
)
def test_vllm_is_held_against_what_trl_takes(found: str | None, status: str) -> None:
    assert doctor.check_vllm(found).status == status


def test_a_small_machine_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_memory_bytes", lambda: 2 * 2**30)
    memory = next(c for c in doctor.check_machine(tmp_path) if c.name == "memory")
    assert memory.status == "broken" and memory.found == "2.0 GiB, the demo needs 4"


def test_a_compiler_is_only_missed_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert [c.name for c in doctor.check_compilers(gpu=False)] == ["g++"]
    assert [c.name for c in doctor.check_compilers(gpu=True)] == ["g++", "nvcc"]
    assert {c.status for c in doctor.check_compilers(gpu=True)} == {"optional"}
