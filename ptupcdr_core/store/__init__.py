"""How files get to the disk: whole, at once and for good."""
