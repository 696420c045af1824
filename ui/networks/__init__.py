"""The page "Inside a network": what the architectures are made of, and what a trained one sees in a picture."""
