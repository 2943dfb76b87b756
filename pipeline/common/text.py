"""Names and lists as a message can show them."""

from collections.abc import Iterable

_NUM_SHOWN = 10


def one_line(name: object) -> str:
    """A file name as a message can show it: one with line breaks or broken characters is quoted and escaped."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def some(words: Iterable[str], *, shown: int = _NUM_SHOWN) -> str:
    """The words with commas between them; of many, the first few."""
    words = list(words)
    return ", ".join(words[:shown]) + (", ..." if len(words) > shown else "")
