"""Checks: what is wrong with the data, found before an hour of training is spent. Knows data alone,
and nothing of torch."""
