"""FSDP shards: read as torch wrote them, in all versions since they are saved this way."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from medreasoner_monai.errors import InputError
from medreasoner_monai.training.merging.fsdp import open_fsdp
from medreasoner_monai.training.merging.merge import merge_to
from medreasoner_monai.training.merging.recognise import open_source
from tests.training.merging.conftest import load

SAVED = Path(__file__).with_name("saved")


@pytest.fixture
def two_ranks(tmp_path: Path) -> Path:
    return shutil.copytree(SAVED / "torch26-fsdp2", tmp_path / "actor")


def counted() -> dict[str, torch.Tensor]:
    """What saved/make.py put into the model."""
    whole = {
        "uneven": torch.arange(21).reshape(7, 3),
        "single": torch.arange(21, 26).reshape(1, 5),
        "vector": torch.arange(26, 30),
    }
    return {name: tensor.to(torch.bfloat16) for name, tensor in whole.items()}


@pytest.mark.parametrize("folder", sorted(SAVED.glob("torch*")), ids=lambda p: p.name)
def test_shards_of_earlier_torch_give_what_was_sharded(folder: Path) -> None:
    source = open_fsdp(folder)
    assert source.half
    assert source.tensors.keys() == counted().keys()
    for name, tensor in counted().items():
        assert source.tensors[name].dtype == torch.bfloat16
        assert torch.equal(source.tensors[name], tensor)


def test_all_kinds_of_saved_shards_are_tested() -> None:
    names = {p.name for p in SAVED.glob("torch*")}
    assert names == {"torch24-fsdp1", "torch26-fsdp1", "torch26-fsdp1-hsdp", "torch26-fsdp2", "torch26-fsdp2-hsdp"}


def test_shards_of_gpus_open_without_one(two_ranks: Path) -> None:
    for path in two_ranks.iterdir():
        with zipfile.ZipFile(path) as opened:
            parts = {name: opened.read(name) for name in opened.namelist()}
        with zipfile.ZipFile(path, "w") as changed:
            for name, content in parts.items():
                if name.endswith("data.pkl"):
                    assert b"X\x03\x00\x00\x00cpu" in content
                    content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
                changed.writestr(name, content)
    source = open_fsdp(two_ranks)
    assert all(torch.equal(source.tensors[name], tensor) for name, tensor in counted().items())


def test_what_others_have_allowed_stays_allowed(two_ranks: Path) -> None:
    with torch.serialization.safe_globals([Path]):
        open_fsdp(two_ranks)
        assert Path in torch.serialization.get_safe_globals()
    assert Path not in torch.serialization.get_safe_globals()


def test_missing_rank_is_named(two_ranks: Path) -> None:
    (two_ranks / "model_world_size_2_rank_1.pt").unlink()
    with pytest.raises(InputError, match=r"saved by 2 ranks and lacks model_world_size_2_rank_1.pt"):
        open_fsdp(two_ranks)


def test_shards_of_two_world_sizes_are_not_mixed(two_ranks: Path) -> None:
    shutil.copy(SAVED / "torch26-fsdp2-hsdp" / "model_world_size_4_rank_3.pt", two_ranks)
    with pytest.raises(InputError, match=r"2 of 2 and 1 of 4"):
        open_fsdp(two_ranks)


def test_file_of_another_world_size_under_this_ones_name_is_noticed(two_ranks: Path) -> None:
    other = SAVED / "torch26-fsdp2-hsdp" / "model_world_size_4_rank_1.pt"
    shutil.copy(other, two_ranks / "model_world_size_2_rank_1.pt")
    with pytest.raises(InputError, match=r"rank_1.pt: \w+ is not sharded as on the first rank"):
        dict(open_fsdp(two_ranks).tensors)


def test_rank_copied_twice_is_noticed(two_ranks: Path) -> None:
    shutil.copy(two_ranks / "model_world_size_2_rank_0.pt", two_ranks / "model_world_size_2_rank_1.pt")
    with pytest.raises(InputError, match=r"uneven have \[4, 4\] rows, which do not make up the 7 of the whole"):
        dict(open_fsdp(two_ranks).tensors)


def test_file_that_was_cut_off_is_named(two_ranks: Path) -> None:
    path = two_ranks / "model_world_size_2_rank_1.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"rank_1.pt is damaged or cut off; copy it again"):
        open_fsdp(two_ranks)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_refused_and_not_run(two_ranks: Path, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    torch.save({"uneven": torch.zeros(7, 3), "x": trap}, two_ranks / "model_world_size_2_rank_1.pt")
    with pytest.raises(InputError, match=r"rank_1.pt would run \w*.mkdir when loaded; it was not opened"):
        open_fsdp(two_ranks)
    assert not (tmp_path / "sprung").exists()
    torch.load(two_ranks / "model_world_size_2_rank_1.pt", weights_only=False)
    assert (tmp_path / "sprung").exists()


def test_ranks_with_other_parameters_are_noticed(two_ranks: Path) -> None:
    torch.save({"other": torch.zeros(7, 3)}, two_ranks / "model_world_size_2_rank_1.pt")
    with pytest.raises(InputError, match=r"hold different parameters, such as other"):
        open_fsdp(two_ranks)


def test_plain_tensors_must_be_the_same_on_every_rank(tmp_path: Path) -> None:
    for rank in range(2):
        torch.save(
            {"same": torch.ones(3), "own": torch.full((2,), rank)}, tmp_path / f"model_world_size_2_rank_{rank}.pt"
        )
    tensors = open_fsdp(tmp_path).tensors
    assert torch.equal(tensors["same"], torch.ones(3))
    with pytest.raises(InputError, match=r"own differs from rank to rank and does not say how it is sharded"):
        tensors["own"]


def test_step_folder_of_verl_is_enough(two_ranks: Path, tmp_path: Path) -> None:
    step = tmp_path / "global_step_480"
    step.mkdir()
    two_ranks.rename(step / "actor")
    assert open_source(step).step == 480


@pytest.mark.chain
@pytest.mark.parametrize(
    ("name", "tied"),
    [("fsdp2", True), ("fsdp1", False), ("fsdp2-uneven", True), ("fsdp2-hsdp", False), ("fsdp1-hsdp", True)],
)
def test_model_comes_out_as_it_was_sharded(
    name: str, tied: bool, checkpoints: Path, tiny_model: Path, untied_model: Path, tmp_path: Path
) -> None:
    original = tiny_model if tied else untied_model
    facts = merge_to(tmp_path / "out", checkpoints / name, base=original)
    assert facts["dtype"] == "bfloat16"
    before, after = load(original, torch.bfloat16).state_dict(), load(tmp_path / "out", "auto").state_dict()
    assert before.keys() == after.keys()
    assert all(after[key].dtype == torch.bfloat16 and torch.equal(after[key], before[key]) for key in before)
