"""The lineage: each asset is a thin adapter around one stage of the core."""
