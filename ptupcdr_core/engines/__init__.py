"""Engines that train: compiled loops on the processor, or torch on a device, behind one protocol (``base``)."""
