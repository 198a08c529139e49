"""`python -m geolathe`, the same as the command `geolathe`."""

import sys

from geolathe.cli import main

if __name__ == "__main__":
    sys.exit(main())
