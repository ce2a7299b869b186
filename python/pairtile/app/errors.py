"""What the command refuses, with exit status 2."""


class InputError(ValueError):
    """A file, a pair of files, or an option for one, that cannot be compared."""
