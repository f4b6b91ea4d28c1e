"""``python -m assetmgr`` is the ``assetmgr`` command."""

import sys

from assetmgr.cli import main

if __name__ == "__main__":
    sys.exit(main())
