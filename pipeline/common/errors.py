"""The one exception that is meant for a person."""


class UserError(ValueError):
    """A mistake that the person at the keyboard can mend.

    The message is one line that names the file, row or setting, what was found there and what to do. A stage
    prints it and exits with 1; every other exception is a bug and keeps its traceback.
    """
