"""`python -m pairtile` is the `pairtile` command."""

import sys

from pairtile.app.cli import main

sys.exit(main())
