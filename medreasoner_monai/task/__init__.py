"""What a question and an answer are: geometry, the answer format, prompts, taxonomy, findings."""
