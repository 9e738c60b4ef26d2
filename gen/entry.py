"""Where the `wordline` command starts: Ctrl-C is a sentence even while the imports run."""

import sys


def main() -> None:
    """Run the command line; exit status 130 if it is interrupted."""
    try:
        from gen import cli  # torch takes a second or two to import

        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("wordline: Interrupted.\n")
        sys.exit(130)
