"""``python -m fourierrecon``."""

import sys

from fourierrecon.cli import main

if __name__ == "__main__":
    sys.exit(main())
