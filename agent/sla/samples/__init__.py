"""Samples as columns: what of them counts, what is missing and why. Pure."""
