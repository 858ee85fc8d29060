"""``python -m jetexp`` is the ``jetexp`` command."""

from jetexp.cli import main

main()
