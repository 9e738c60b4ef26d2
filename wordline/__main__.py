"""Entry point of the `wordline` command. Ctrl-C gives a message even while imports run."""

import signal
import sys
import threading


def main() -> None:
    """Run the command line; the exit status is 130 if it is interrupted."""
    sys.unraisablehook = _again
    try:
        from wordline.cli import commands  # importing torch takes 1 to 2 s

        commands.main()
    except KeyboardInterrupt:
        sys.stderr.write("wordline: Interrupted.\n")
        sys.exit(130)


def _again(lost: "sys.UnraisableHookArgs") -> None:
    """Send Ctrl-C again, a moment later, if Python dropped it in a destructor."""
    if lost.exc_type is KeyboardInterrupt:
        main_thread = threading.main_thread().ident or 0
        threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    main()
