"""Ranked lists: bridges trained on which target items people took, measured by full ranking over all target items."""
