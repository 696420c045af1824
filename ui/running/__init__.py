"""Programs started from the pages, and the models that they register."""
