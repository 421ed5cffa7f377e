"""``python -m ppvae``: the command line, as launchers of several processes start it."""

import sys

from ppvae.cli import main

if __name__ == "__main__":
    sys.exit(main())
