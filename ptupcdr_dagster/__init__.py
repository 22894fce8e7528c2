"""The Dagster project around ptupcdr_core: assets, checks, tracking and the command line."""
