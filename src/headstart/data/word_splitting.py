"""Splitting texts of any script into words."""

from __future__ import annotations

import regex

LETTER = r"\p{L}\p{N}_"  # what `\w` matches in `re`
# vowel signs, accents and joiners belong to the letter before them
LETTER_OR_MARK = rf"[{LETTER}][{LETTER}\p{{M}}\p{{Join_Control}}]"
WORD = regex.compile(f"{LETTER_OR_MARK}+")
WORD_OR_SIGN = regex.compile(rf"{LETTER_OR_MARK}*|[^{LETTER}\s]")
SOUTHEAST_ASIAN = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")  # unspaced scripts
MIN_SPACES = 0.05  # share of characters; English has about 0.17, Chinese next to none


def words(text: str) -> list[str]:
    """The words of two or more characters in a text."""
    matches: list[str] = WORD.findall(text)
    return matches


def words_and_signs(text: str) -> list[str]:
    """The words in a text, and every other character except spaces by itself."""
    matches: list[str] = WORD_OR_SIGN.findall(text)
    return matches


def has_spaced_words(text: str) -> bool:
    """Whether spaces separate the words of a text; in Thai and related scripts they separate
    phrases."""
    return text.count(" ") > MIN_SPACES * len(text) and 2 * len(
        SOUTHEAST_ASIAN.findall(text)
    ) < len(text)
