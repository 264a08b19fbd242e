"""Our GRPO settings as verl's command line has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medreasoner_monai.config import GrpoSettings
from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.export.mapped import Facts, Mapped, up_to_multiple
from medreasoner_monai.export.model import Model

# TRL's name of a loss: how verl adds up a batch's tokens, and whether it divides by the group's deviation.
_LOSSES = {
    "grpo": ("seq-mean-token-mean", True),
    "bnpo": ("token-mean", True),
    "dapo": ("token-mean", True),
    "dr_grpo": ("seq-mean-token-sum-norm", False),
}


@dataclass(frozen=True)
class Cluster:
    """What it is to run on: machines, and GPUs a machine (as many as the config has ranks when None)."""

    nodes: int = 1
    gpus: int | None = None


def check(grpo: GrpoSettings, cluster: Cluster) -> None:
    """Refuse what verl could not share out.

    Raises
    ------
    ConfigError
        If the prompts of a round are no multiple of its updates, or their completions none of the GPUs.
    """
    gpus = cluster.nodes * (cluster.gpus or grpo.deepspeed.processes)
    if grpo.prompts % grpo.updates:
        raise ConfigError(
            f"verl shares out whole prompts: {grpo.prompts} grpo.prompts into {grpo.updates} grpo.updates"
        )
    if grpo.prompts // grpo.updates * grpo.rollouts % (gpus * grpo.micro_batch):
        raise ConfigError(
            f"an update's {grpo.prompts // grpo.updates} prompts x {grpo.rollouts} rollouts cannot be shared out "
            f"evenly over {gpus} GPUs with {grpo.micro_batch} at once; change --gpus, --nodes or grpo.micro_batch"
        )


def grpo_settings(
    grpo: GrpoSettings, model: Model, facts: dict[str, Facts], cluster: Cluster, name: str
) -> list[Mapped]:
    """The command line's overrides but for paths, in the order they are written.

    Raises
    ------
    ConfigError
        As :func:`check`; also when the training split is smaller than one round, or verl has no such loss.
    """
    check(grpo, cluster)
    rounds = facts["train"].rows // grpo.prompts
    if not rounds:
        raise ConfigError(
            f"a round takes {grpo.prompts} prompts (grpo.prompts) and train has {facts['train'].rows}; verl passes "
            "over what does not fill one"
        )
    loss = str(getattr(grpo, "loss", "grpo"))
    if loss not in _LOSSES:
        raise ConfigError(f"verl has no counterpart of the loss {loss!r}.{nearest(loss, _LOSSES)}")
    added_up, by_deviation = _LOSSES[loss]
    longest = max(f.longest for f in facts.values())
    actor, rollout, ref = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref"))
    return [
        Mapped("algorithm.adv_estimator", "grpo", "GRPO"),
        Mapped("algorithm.norm_adv_by_std_in_grpo", by_deviation, f"the loss {loss}"),
        Mapped("algorithm.use_kl_in_reward", False, "the KL term is part of the loss"),
        Mapped("data.image_key", "images", ""),
        Mapped("data.train_batch_size", grpo.prompts, "`grpo.prompts`"),
        Mapped("data.max_prompt_length", _prompt_limit(grpo, longest), f"the longest prompt has {longest} tokens"),
        Mapped("data.max_response_length", grpo.max_completion, "`grpo.max_completion`"),
        Mapped("data.filter_overlong_prompts", False, "none is too long"),
        Mapped("data.truncation", "error", "nothing is cut unseen"),
        Mapped("data.image_patch_size", model.factor // 2, "the model's processor"),
        Mapped("data.shuffle", True, ""),
        Mapped("data.seed", grpo.seed, "`grpo.seed`"),
        Mapped("actor_rollout_ref.model.enable_gradient_checkpointing", True, "as GRPO on a GPU"),
        Mapped(f"{actor}.optim.lr", grpo.learning_rate, "`grpo.learning_rate`"),
        Mapped(f"{actor}.optim.lr_scheduler_type", "constant", "as GRPO: constant after the warm-up"),
        Mapped(
            f"{actor}.optim.lr_warmup_steps",
            -(-grpo.warmup_steps // grpo.updates),
            "`grpo.warmup_steps` by `grpo.updates`: verl counts rounds",
        ),
        Mapped(f"{actor}.optim.weight_decay", 0.0, "as GRPO"),
        Mapped(f"{actor}.ppo_mini_batch_size", grpo.prompts // grpo.updates, "`grpo.prompts` by `grpo.updates`"),
        Mapped(f"{actor}.ppo_micro_batch_size_per_gpu", grpo.micro_batch, "`grpo.micro_batch`"),
        Mapped(f"{actor}.loss_agg_mode", added_up, f"the loss {loss}"),
        Mapped(f"{actor}.use_kl_loss", grpo.kl > 0, "`grpo.kl`"),
        Mapped(f"{actor}.kl_loss_coef", grpo.kl, "`grpo.kl`"),
        Mapped(f"{actor}.kl_loss_type", "low_var_kl", "the estimator that GRPO has"),
        Mapped(f"{actor}.entropy_coeff", 0, "none, as GRPO"),
        Mapped(f"{actor}.freeze_vision_tower", grpo.freeze_vision, "`grpo.freeze_vision`; see below"),
        Mapped(f"{rollout}.name", "vllm", "verl's rollouts"),
        Mapped(f"{rollout}.n", grpo.rollouts, "`grpo.rollouts`"),
        Mapped(f"{rollout}.temperature", grpo.temperature, "`grpo.temperature`"),
        Mapped(f"{rollout}.tensor_model_parallel_size", 1, "a 7B model fits one GPU"),
        Mapped(f"{rollout}.log_prob_micro_batch_size_per_gpu", grpo.micro_batch, "`grpo.micro_batch`"),
        Mapped(f"{ref}.log_prob_micro_batch_size_per_gpu", grpo.micro_batch, "`grpo.micro_batch`"),
        Mapped("custom_reward_function.name", "compute_score", "`reward.py`"),
        Mapped("trainer.total_training_steps", grpo.steps, "`grpo.steps`"),
        Mapped("trainer.total_epochs", grpo.steps // rounds + 1, f"enough for them, at {rounds} rounds an epoch"),
        Mapped("trainer.save_freq", grpo.save_every, "`grpo.save_every`"),
        Mapped("trainer.max_actor_ckpt_to_keep", 2, "as GRPO"),
        Mapped("trainer.test_freq", grpo.save_every if "val" in facts else -1, "`grpo.save_every`, where there is val"),
        Mapped("trainer.val_before_train", False, "as GRPO"),
        Mapped(
            "trainer.n_gpus_per_node", cluster.gpus or grpo.deepspeed.processes, "`grpo.deepspeed.processes`, or --gpus"
        ),
        Mapped("trainer.nnodes", cluster.nodes, "--nodes"),
        Mapped("trainer.project_name", "medreasoner", ""),
        Mapped("trainer.experiment_name", name, "`name`"),
        Mapped("trainer.logger", ["console"], "nothing leaves the machine unless you say so"),
    ]


def _prompt_limit(grpo: GrpoSettings, longest: int) -> int:
    """The config's limit where it has one that all prompts keep, else what the longest needs."""
    return max(getattr(grpo, "max_prompt", None) or 0, up_to_multiple(longest))


def override(name: str, value: Any) -> str:
    """A setting as Hydra's command line takes it; texts are quoted, whatever they hold.

    >>> override("a.b", "x"), override("a.c", ["console"]), override("d", False), override("e", 1e-06)
    ("a.b='x'", "a.c=['console']", 'd=False', 'e=1e-06')
    """
    return f"{name}={_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    if isinstance(value, list):
        return "[" + ",".join(_literal(v) for v in value) + "]"
    return str(value)
