"""The HTTP service on deployed bundles: ``ptupcdr serve``."""
