"""Words in texts of any script."""

from __future__ import annotations

import regex

LETTER = r"\p{L}\p{N}_"  # what `\w` is in `re`
# vowel signs, accents and joiners belong to the letter before them
WORD = rf"[{LETTER}][{LETTER}\p{{M}}\p{{Join_Control}}]"
WORDS = regex.compile(f"{WORD}+")
PIECES = regex.compile(rf"{WORD}*|[^{LETTER}\s]")
UNSPACED = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
SPACES_A_CHARACTER = 0.05  # English has about 0.17, Chinese next to none


def words(text: str) -> list[str]:
    """The words of two or more characters in a text."""
    return WORDS.findall(text)


def pieces(text: str) -> list[str]:
    """The words in a text, and every other character but spaces by itself."""
    return PIECES.findall(text)


def has_spaced_words(text: str) -> bool:
    """Whether spaces stand between the words of a text; in Thai and its neighbours they stand
    between phrases."""
    return text.count(" ") > SPACES_A_CHARACTER * len(text) and 2 * len(
        UNSPACED.findall(text)
    ) < len(text)
