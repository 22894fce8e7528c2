"""Compiled loops, each behind a plain face."""
