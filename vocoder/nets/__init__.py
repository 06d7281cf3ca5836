"""Ordinary networks, which need not be invertible."""
