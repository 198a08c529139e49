"""The command `geolathe`, also `python -m geolathe`."""

import signal
import sys

# Ctrl-C ends the process until the command handles it: a KeyboardInterrupt during one of the
# imports would print a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from geolathe.cli import main  # noqa: E402 - after the signal's default is restored

if __name__ == "__main__":
    sys.exit(main())
