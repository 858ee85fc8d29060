"""Where jets come from; ``load`` is the one door."""
