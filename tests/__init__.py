"""Ours: some packages install a `tests` of their own, which would hide one that is only a folder."""
