"""Grounded medical reasoning: a question about an image in; a trace, a box, two points and a mask out."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("medreasoner-monai")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0+unknown"

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment decisions."
