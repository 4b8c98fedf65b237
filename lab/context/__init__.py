"""What lies on the desk at the exam: nothing, the gold passages, random ones, or retrieved ones."""

from lab.context.base import Context, Reader

__all__ = ["Context", "Reader"]
