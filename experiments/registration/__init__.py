"""The parts of the entry point `register`: choose a pretrained model, make its folder, judge it, register it."""
