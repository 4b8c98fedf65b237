"""Practice questions and reworded copies of a corpus, written by a model: `python -m lab.practice`."""
