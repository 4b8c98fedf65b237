"""`python -m lab.report.known RUNS`: the known answers, printed and written as CSV."""

import sys

from lab.report.known import main

if __name__ == "__main__":
    sys.exit(main())
