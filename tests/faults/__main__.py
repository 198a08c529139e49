"""`python -m tests.faults`: what `./dev faults` runs."""

import sys

from tests.faults.driver import main

sys.exit(main())
