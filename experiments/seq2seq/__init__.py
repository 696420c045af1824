"""The parts of the entry point `seq2seq`: step and metrics, set-up, report."""
