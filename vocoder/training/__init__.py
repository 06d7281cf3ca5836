"""Recordings in, weights out: recipes, batches, objective, loop."""
