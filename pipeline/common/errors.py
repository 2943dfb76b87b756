"""The one exception whose message is for the user."""


class UserError(ValueError):
    """A mistake that the user can mend.

    The message is one line that names the file, row or setting, what was found there and what to do. A stage prints it
    and exits with 1; every other exception is a bug and keeps its traceback.

    Args:
        what: is wrong, and where.
        advice: what to do, where it is of use without the other part.

    Attributes:
        what: without the advice.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what}: {advice}" if advice else what)
        self.what = what
