"""The project's version: what programs, the gateway and the tool say of themselves."""

__version__ = "0.2.0"
