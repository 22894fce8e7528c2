"""Cleaning and splitting past one machine: the core's tables, made by Apache Spark."""
