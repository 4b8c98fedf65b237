"""The judge: (question, answer) -> grade; retrieval scores; intervals and paired tests; what was forgotten."""
