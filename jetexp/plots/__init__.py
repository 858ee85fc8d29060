"""Figures only: results in, matplotlib figures out; ``gallery`` is the one door."""
