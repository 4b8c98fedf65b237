"""`python -m lab.report.upkeep RUNS`: routes after updates of their corpus, printed and written as CSV."""

import sys

from lab.report.upkeep import main

if __name__ == "__main__":
    sys.exit(main())
