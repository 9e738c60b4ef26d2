"""The exception and the warning for users.

Each message is one sentence: the field, the value, and what to do.
"""


class WordlineError(Exception):
    """A mistake in the user's input: description, checkpoint, data or machine.

    `str()` is one clear sentence. The command line prints it and exits with status 2.
    """


class WordlineNote(UserWarning):
    """A note about valid input that the user should know of.

    The command line prints it as one line on stderr.
    """
