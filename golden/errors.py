"""The one exception a user sees: a sentence that names the field, the value and the way out."""


class WordlineError(Exception):
    """A mistake in what the user gave (description, checkpoint, data, machine); str() is one
    clear sentence. The command line prints it and exits with status 2."""
