"""One self-contained page a pair: what was measured, and pictures of it, in plain words."""
