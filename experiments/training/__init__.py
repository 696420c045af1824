"""One training from a configuration to a registered model: the loop, its state, resume, devices."""
