"""MLflow: tracking, gate and promotion."""
