"""The `sightline` command."""

import os
import sys


def main() -> None:
    """Runs the command line; a problem that a person can mend is one message and an exit code, never a traceback (unless --debug)."""
    from sightline.errors import SightlineError

    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        from sightline.cli.app import app

        app()
    except SightlineError as error:
        if debug:
            raise
        sys.stderr.write(f"sightline: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) went away; standard output must not be flushed again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
