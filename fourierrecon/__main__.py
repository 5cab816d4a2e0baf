"""``python -m fourierrecon``."""

import sys

from fourierrecon.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
