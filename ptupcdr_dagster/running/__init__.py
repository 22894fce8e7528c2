"""How partitions are run: planned, one at a time or side by side."""
