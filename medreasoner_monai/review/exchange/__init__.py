"""Samples and verdicts in the formats of other annotation tools: Label Studio, and CVAT for images 1.1."""
