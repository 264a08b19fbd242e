"""Our log lines on the page of the Prefect run that they belong to."""

from __future__ import annotations

import logging
import time

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from medreasoner_monai.pipeline.prefect_server import configured_server, is_healthy
from medreasoner_monai.pipeline.progress import PAGE_LOG

CHECK_SECONDS = 30.0
"""How often it is checked that the server is still there."""


def send_logs() -> None:
    """Send what is logged below ``medreasoner`` within a flow run to Prefect's server. Harmless when repeated.

    Where nothing shows these lines yet (on a Prefect worker), they go where Prefect's own lines go as well.
    """
    ours, pages = logging.getLogger("medreasoner"), logging.getLogger(PAGE_LOG)
    if any(isinstance(handler, APILogHandler) for handler in ours.handlers):
        return
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
    if not ours.handlers:
        for handler in logging.getLogger("prefect").handlers:
            ours.addHandler(handler)
    handler = APILogHandler()
    handler.addFilter(_Reachable())
    ours.addHandler(handler)
    pages.addHandler(handler)


class _Reachable(logging.Filter):
    """Lets lines of a flow run through while its server answers; Prefect would print an error for each otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.checked, self.answers = 0.0, True

    def filter(self, record: logging.LogRecord) -> bool:
        if FlowRunContext.get() is None and TaskRunContext.get() is None:
            return False
        url, now = configured_server(), time.monotonic()
        if url is not None and (not self.checked or now - self.checked > CHECK_SECONDS):
            self.checked, self.answers = now, is_healthy(url)
        return self.answers
