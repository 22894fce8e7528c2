"""Compiled loops behind plain functions."""
