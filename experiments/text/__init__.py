"""The parts of the entry point `finetune`: batches of texts, the pretrained model, step and metrics, set-up, report."""
