"""Our GRPO settings as verl's command line has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.export.mapped import Facts, Mapped, up_to_multiple
from medreasoner_monai.export.model import Model
from medreasoner_monai.settings.training import GrpoSettings

# TRL's name of a loss: how verl adds up a batch's tokens.
_LOSSES = {
    "grpo": "seq-mean-token-mean",
    "bnpo": "token-mean",
    "dapo": "token-mean",
    "dr_grpo": "seq-mean-token-sum-norm",
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
    loss = grpo.loss.kind
    if loss not in _LOSSES:
        raise ConfigError(f"verl has no counterpart of the loss {loss!r}.{nearest(loss, _LOSSES)}")
    if grpo.loss.advantage_scale == "batch":
        raise ConfigError("verl divides advantages by their group's deviation or not at all; batch is not to be had")
    added_up, by_deviation = _LOSSES[loss], grpo.loss.advantage_scale == "group"
    longest = max(f.longest for f in facts.values())
    actor, rollout, ref = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref"))
    return [
        Mapped("algorithm.adv_estimator", "grpo", "GRPO"),
        Mapped("algorithm.norm_adv_by_std_in_grpo", by_deviation, "`grpo.loss.advantage_scale`"),
        Mapped("algorithm.use_kl_in_reward", False, "the KL term is part of the loss"),
        Mapped("data.image_key", "images", ""),
        Mapped("data.train_batch_size", grpo.prompts, "`grpo.prompts`"),
        Mapped(
            "data.max_prompt_length",
            _prompt_limit(grpo, longest),
            f"`grpo.max_prompt`; the longest prompt has {longest} tokens",
        ),
        Mapped("data.max_response_length", grpo.max_completion, "`grpo.max_completion`"),
        Mapped("data.filter_overlong_prompts", False, "none is too long"),
        Mapped("data.truncation", "error", "nothing is cut unseen"),
        Mapped("data.image_patch_size", model.factor // 2, "the model's processor"),
        Mapped("data.shuffle", True, ""),
        Mapped("data.seed", grpo.seed, "`grpo.seed`"),
        Mapped(
            "actor_rollout_ref.model.enable_gradient_checkpointing",
            grpo.gradient_checkpointing is not False,
            "`grpo.gradient_checkpointing`",
        ),
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
        # verl takes an entropy bonus off the loss, as ours does.
        Mapped(f"{actor}.entropy_coeff", grpo.loss.entropy, "`grpo.loss.entropy`"),
        Mapped(f"{actor}.clip_ratio", grpo.loss.clip, "`grpo.loss.clip`"),
        Mapped(f"{actor}.clip_ratio_low", grpo.loss.clip, "`grpo.loss.clip`"),
        Mapped(f"{actor}.clip_ratio_high", grpo.loss.clip_high or grpo.loss.clip, "`grpo.loss.clip_high`"),
        Mapped(
            f"{actor}.policy_loss.loss_mode",
            "gspo" if grpo.loss.importance == "sequence" else "vanilla",
            "`grpo.loss.importance`",
        ),
        *_adapters(grpo),
        Mapped(f"{actor}.freeze_vision_tower", grpo.freeze_vision, "`grpo.freeze_vision`; see below"),
        Mapped(f"{rollout}.name", "vllm", "verl's rollouts"),
        Mapped(f"{rollout}.n", grpo.rollouts, "`grpo.rollouts`"),
        Mapped(f"{rollout}.temperature", grpo.temperature, "`grpo.temperature`"),
        Mapped(
            f"{rollout}.tensor_model_parallel_size",
            grpo.generation.tensor_parallel,
            "`grpo.generation.tensor_parallel`",
        ),
        Mapped(f"{rollout}.gpu_memory_utilization", grpo.generation.gpu_memory, "`grpo.generation.gpu_memory`"),
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


def _adapters(grpo: GrpoSettings) -> list[Mapped]:
    if grpo.lora is None:
        return []
    model = "actor_rollout_ref.model"
    return [
        Mapped(f"{model}.lora_rank", grpo.lora.rank, "`grpo.lora`"),
        Mapped(f"{model}.lora_alpha", grpo.lora.alpha, "`grpo.lora`"),
        Mapped(f"{model}.target_modules", list(grpo.lora.targets), "`grpo.lora`"),
        Mapped(f"{model}.exclude_modules", ".*visual.*", "the language model alone"),
    ]


def _prompt_limit(grpo: GrpoSettings, longest: int) -> int:
    """The config's limit where it has one that all prompts keep, else what the longest needs."""
    return max(grpo.max_prompt, up_to_multiple(longest))


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
