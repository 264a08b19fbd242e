"""A series and questions in, findings out: plan, ask, aggregate, carry through the volume, write outputs."""
