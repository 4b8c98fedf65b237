"""What the literature knows, checked: `known(paths)` and `python -m lab.report.known RUNS`.

An instrument must reproduce what is known before it may say anything new. Each of ten known answers has its arms in
`conf/experiment/known_answers.yaml`, its rule in `answers`, and a verdict that follows from intervals alone (`claims`).
"""

from lab.report.known.show import known, main

__all__ = ["known", "main"]
