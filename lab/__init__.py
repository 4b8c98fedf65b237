"""The Open-Book Exam Lab: RAG, LoRA and continued pretraining sit one exam on one corpus, under one ledger."""
