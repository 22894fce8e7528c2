"""The statements that clean and split, as package data."""
