"""The page about the visitor's own data: kept, looked at, trained on."""
