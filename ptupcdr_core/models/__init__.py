"""Base models and bridges: the parameters, and how they score."""
