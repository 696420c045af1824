"""The language model that the project ships: a small decoder trained on children's stories."""
