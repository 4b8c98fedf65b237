"""A corpus that changes: what each way to keep a route up to date costs, and what it then knows."""

from lab.report.upkeep.conflicts import conflicts
from lab.report.upkeep.frame import upkeep
from lab.report.upkeep.show import main

__all__ = ["conflicts", "main", "upkeep"]
