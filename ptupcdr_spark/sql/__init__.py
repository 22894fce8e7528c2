"""Statements that run in DuckDB inside the tasks of Spark."""
