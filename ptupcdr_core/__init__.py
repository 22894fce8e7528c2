"""PTUPCDR: personalized bridges for cross-domain, cold-start recommendation. Knows nothing of any orchestrator."""
