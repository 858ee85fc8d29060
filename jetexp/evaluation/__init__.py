"""Numbers only: arrays in, frozen dataclasses out; ``report`` is the one door."""
