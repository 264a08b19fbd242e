"""Evaluation: per-sample results, metrics with intervals, comparisons."""
