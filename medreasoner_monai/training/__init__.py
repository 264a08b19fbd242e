"""Training: cold start (SFT), GRPO under DeepSpeed, merging."""
