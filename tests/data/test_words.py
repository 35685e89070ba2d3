"""Words in many scripts."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest

from headstart.data.word_splitting import LETTER, has_spaced_words, regex, words, words_and_signs


@pytest.mark.parametrize(
    "sentence",
    [
        "हिन्दी में लिखी किताबें मिली थीं",
        "বাংলা ভাষায় লেখা বইগুলি",
        "தமிழ் மொழியில் எழுதப்பட்ட",
        "తెలుగు భాషలో రాసిన పుస్తకాలు",
        "ภาษา ไทย น้ำ ที่",
        "العَرَبِيَّة می‌خواهم",  # vowel marks, and a non-joiner inside a word
        "שָׁלוֹם עוֹלָם",
        unicodedata.normalize("NFD", "Việt nghĩa café"),
    ],
)
def test_vowel_signs_and_accents_belong_to_their_word(sentence: str) -> None:
    alone = sentence.split()
    assert words(", ".join(alone) + "!") == alone
    assert words_and_signs(f"({sentence})।") == ["(", *alone, ")", "।"]


@pytest.mark.parametrize(
    "text",
    [
        "It's a film-maker's 1st film, isn't it? x² costs $5.00 (a_b)",
        "Größe: 5 µm",
        "❤️ 👩‍💻 ok",
        "",
    ],
)
def test_texts_without_signs_are_cut_as_by_scikit_learn(text: str) -> None:
    assert words(text) == re.findall(r"(?u)\b\w\w+\b", text)
    assert words_and_signs(text) == re.findall(r"\w+|[^\w\s]", text)


def test_letters_are_those_of_re() -> None:
    """But for what one of the two libraries does not know yet."""
    ours, theirs = regex.compile(f"[{LETTER}]"), re.compile(r"\w")
    signs = [
        chr(code) for code in range(0, sys.maxunicode, 7) if unicodedata.category(chr(code)) != "Cn"
    ]
    assert [sign for sign in signs if bool(ours.match(sign)) != bool(theirs.match(sign))] == []


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("a charming and often affecting journey", True),
        ("यह फिल्म बहुत अच्छी थी", True),
        ("이 영화는 정말 좋았다", True),
        ("这部电影很好看，我很喜欢", False),
        ("この映画はとても面白かった", False),
        ("ร้านนี้อาหารอร่อยมาก บรรยากาศดี พนักงานบริการดี", False),
        ("อร่อยมาก ราคาถูก คุ้มค่า", False),  # spaces between phrases
    ],
)
def test_which_texts_have_spaces_between_words(text: str, spaced: bool) -> None:
    assert has_spaced_words(text) == spaced
