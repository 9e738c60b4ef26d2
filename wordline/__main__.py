"""Entry point of the `wordline` command. Ctrl-C gives a message even while imports run."""

import sys

from wordline import interrupts


def main() -> None:
    """Run the command line; the exit status is 130 if it is interrupted, 143 after SIGTERM."""
    interrupts.install()
    try:
        from wordline.cli import commands  # importing torch takes 1 to 2 s

        commands.main()
    except KeyboardInterrupt as interrupt:
        sys.stderr.write("wordline: Interrupted.\n")
        sys.exit(interrupts.status(interrupt))


if __name__ == "__main__":
    main()
