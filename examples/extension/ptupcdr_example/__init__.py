"""A method and a source format of one's own, each in one file."""
