"""The starters over a small BERT encoder: sentiment, question answering, summaries."""
