"""Prefect flows: one a stage, and ``retrain``, which chains them. No logic here that a test would want."""
