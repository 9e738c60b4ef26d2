"""Where the `wordline` command starts: Ctrl-C is a sentence even while the imports run."""

import signal
import sys
import threading


def main() -> None:
    """Run the command line; exit status 130 if it is interrupted."""
    sys.unraisablehook = _again
    try:
        from wordline.cli import commands  # torch takes a second or two to import

        commands.main()
    except KeyboardInterrupt:
        sys.stderr.write("wordline: Interrupted.\n")
        sys.exit(130)


def _again(lost: "sys.UnraisableHookArgs") -> None:
    """Python drops a Ctrl-C that falls into a destructor: send it once more, a moment later."""
    if lost.exc_type is KeyboardInterrupt:
        main_thread = threading.main_thread().ident or 0
        threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    main()
