"""What learns; ``catalogue`` is the one door."""
