"""Page: seq2seq."""
