"""MLflow: a run a stage, the registry, the served model."""
