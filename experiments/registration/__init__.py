"""The parts of the entry point `register`: choose a pretrained model, make its folder, evaluate it, register it."""
