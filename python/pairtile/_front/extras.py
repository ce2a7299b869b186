"""Packages that only some functions need."""


class MissingExtraError(ImportError):
    """A package that only one extra needs is not installed."""
