"""MLflow: one run for each stage, the model registry, the served model."""
