"""Checks of the data before training. They need only the data, not torch."""
