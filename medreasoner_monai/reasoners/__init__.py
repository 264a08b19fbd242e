"""Reasoners: an image and an implicit question in; a trace, a box and two points out."""
