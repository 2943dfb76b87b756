"""Names and lists as a message can show them."""

from collections.abc import Iterable

_NUM_SHOWN = 10


def one_line(name: object) -> str:
    """A file name as a message can show it: one with line breaks, terminal escapes or broken characters is quoted."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def printable(text: str) -> str:
    """`text` with an escape such as `\\x9b` in place of each character that a terminal would act on or cannot show."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines()]
    return one_line(next((line for line in lines if line), type(error).__name__))


def csv_cell(name: object) -> str:
    """A file name as a cell of a table: `one_line`, and never a formula to a spreadsheet.

    Source: OWASP, "CSV Injection".
    """
    text = one_line(name)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def some(words: Iterable[str], *, shown: int = _NUM_SHOWN) -> str:
    """The words with commas between them; of many, the first few."""
    words = list(words)
    return ", ".join(words[:shown]) + (", ..." if len(words) > shown else "")
