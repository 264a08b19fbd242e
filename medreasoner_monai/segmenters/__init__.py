"""Frozen promptable segmenters: a box and two points in, a boolean mask in the image's own size out."""
