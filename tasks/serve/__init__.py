"""The HTTP gateway: every registered task at one address, with streaming. `python -m tasks.serve`, see `app`."""
