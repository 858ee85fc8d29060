"""Numbers only: arrays in, frozen dataclasses out; ``report`` has what every run records."""
