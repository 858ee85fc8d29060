"""Public file formats of jets: one module each, with ``sniff`` and ``read``."""
