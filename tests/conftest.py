"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine may take its time over an example; how long a test takes is never what is tested.
settings.register_profile("here", deadline=None, max_examples=60)
settings.load_profile("here")
