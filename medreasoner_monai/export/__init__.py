"""Data, rewards and settings in the words of other training projects: LLaMA-Factory (SFT) and verl (GRPO)."""
