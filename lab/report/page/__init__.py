"""The report as one HTML page that needs no network: written once, opened from a file, read on a phone."""

from lab.report.page.build import build

__all__ = ["build"]
