"""Problems that ship with the plugins, made on the spot so that nothing is downloaded."""

MOST_SAMPLES = 1_000_000
"""Samples that a problem is made of at most: each is solved, and checked, before the training."""
