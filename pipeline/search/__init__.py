"""Searching a folder of crops for the images that show what a query shows."""
