"""Unsupervised training: the trainer, its schedule, and what makes it the same everywhere."""
