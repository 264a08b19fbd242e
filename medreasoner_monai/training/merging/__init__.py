"""What a training saved in pieces (ZeRO shards, FSDP shards, adapters) becomes one checked Hugging Face folder."""
