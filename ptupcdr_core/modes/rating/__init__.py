"""Predicted ratings."""
