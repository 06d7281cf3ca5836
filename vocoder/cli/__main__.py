"""`python -m vocoder.cli`: the same as the command `vocoder`."""

import sys

from vocoder.cli import main

sys.exit(main())
