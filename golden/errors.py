"""What a user is told: the one exception and the one warning, a sentence each that names the field,
the value and the way out."""


class WordlineError(Exception):
    """A mistake in what the user gave (description, checkpoint, data, machine); str() is one
    clear sentence. The command line prints it and exits with status 2."""


class WordlineNote(UserWarning):
    """Something the user should know of what they gave, which works nevertheless. The command line
    prints it as one line on stderr."""
