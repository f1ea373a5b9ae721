import sys

from priors.cli import main

if __name__ == "__main__":
    sys.exit(main())
