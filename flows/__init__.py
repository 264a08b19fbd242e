"""Prefect flows: one a stage, and ``retrain``, which chains them. No logic here that a test would want."""

from medreasoner_monai.pipeline.environment import quiet_libraries

quiet_libraries()  # here, since a Prefect worker runs the flows without our command line

from medreasoner_monai.pipeline.prefect_logs import send_logs  # noqa: E402 - Prefect is imported with it

send_logs()
