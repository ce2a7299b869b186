"""`python -m pairtile` is the `pairtile` command."""

import sys

from pairtile.cli import main

sys.exit(main())
