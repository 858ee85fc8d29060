"""Mistakes a user can make, each told in one sentence."""


class JetexpError(Exception):
    """A user's mistake or a fault of the surroundings, told in one clear sentence.

    The command line prints the sentence alone and exits with status 2.
    """


class SurroundingsError(JetexpError):
    """A fault of the surroundings, which no tagger can help: a full disk, a store that fails."""


class ExperimentError(JetexpError):
    """An experiment file that cannot be run as it stands."""


class JetFileError(JetexpError):
    """A file that does not hold jets in a form that can be read."""


class ModelError(JetexpError):
    """A registered model or run that cannot be found, loaded or promoted."""
