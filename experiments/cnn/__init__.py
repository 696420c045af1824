"""The parts of the entry point `cnn`: batches of images, step and metrics, set-up, training, report."""
