"""`python -m icl`: the command `icl`, where its script is not on the path."""

import sys

from icl.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
