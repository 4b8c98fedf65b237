"""Builds a base model from scratch: `python -m lab.foundry --help`."""
