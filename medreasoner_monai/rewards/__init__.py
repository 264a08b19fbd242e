"""Rewards: terms on a batch of completions, and the suites base, soft and hard made of them."""

from medreasoner_monai.rewards.suites import SUITES, RewardSuite, suite

__all__ = ["SUITES", "RewardSuite", "suite"]
