"""Documents in: a folder of texts, cut into passages, held as one corpus."""
