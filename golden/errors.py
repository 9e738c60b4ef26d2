"""The exception and the warning for users.

Each message is one sentence: the field, the value, and what to do.
"""

LONGEST = 1200
"""Maximum characters of a message; a file may hold a name or a value of any length."""


class WordlineError(Exception):
    """A mistake in the user's input: description, checkpoint, data or machine.

    `str()` is one clear sentence. The command line prints it and exits with status 2. Characters
    of the input that cannot be printed are escaped, so a file cannot control the terminal.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class DesignError(WordlineError):
    """Verilog that does not build, or does not run to its end.

    A check of given Verilog is RED then. Any other error is of the machine or of another input, and
    says nothing about the Verilog.
    """


def printable(text: str) -> str:
    """A text in one line of printable characters, with its middle left out if it is long."""
    if len(text) > LONGEST:
        end = LONGEST // 3
        left_out = len(text) - 3 * end
        text = f"{text[: 2 * end]} ... ({left_out:,} characters) ... {text[-end:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class WordlineNote(UserWarning):
    """A note about valid input that the user should know of.

    The command line prints it as one line on stderr.
    """
