"""Text that somebody else chose (a peer, a file, a library's error) before it reaches a terminal, a document or a log.

A name in a stranger's certificate may hold line breaks, which forge lines of ours, and escape sequences, which make a
terminal do what they say. All such text goes through `plain`; what is printed goes through `visible` once more.
"""

from __future__ import annotations

import json

_MOST = 200  # characters: a distinguished name with eight parts has 150
_MOST_QUOTED = 60


def plain(text: str, most: int = _MOST) -> str:
    r"""One line without anything that a terminal obeys or hides: "a\nb" becomes r"a\nb"; cut to a readable length.

    What is visible stays as it is, in any script. What is not (control characters, marks that turn the direction of
    writing, blanks that are no blank, halves of characters) is written as JSON writes it.
    """
    return visible(text if len(text) <= most else text[: most - 1] + "…")


def visible(line: str) -> str:
    """The same of a line of any length. JSON stays JSON, and means what it did."""
    return line if line.isprintable() else "".join(map(_visible, line))


def quoted(text: str) -> str:
    """The same in quotation marks, short; "nothing" for an empty text."""
    return f"'{plain(text, _MOST_QUOTED)}'" if text else "nothing"


def _visible(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]
