"""What trains: compiled loops on the processor, or torch on a device, behind one protocol (``base``)."""
