"""Whether a newly trained model may serve."""
