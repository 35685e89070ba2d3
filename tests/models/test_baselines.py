"""Plain baselines on texts of many scripts."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from headstart.data.dataset import Dataset, Examples
from headstart.models.baselines import tfidf_logistic_regression


def dataset(telling: tuple[str, str], filler: list[str], between: str, form: str) -> Dataset:
    """Texts that one word tells apart; those of the test part are in a form of Unicode of their
    own."""
    random = np.random.default_rng(0)

    def part(count: int, form: str) -> Examples:
        labels = np.arange(count) % 2
        rows = [
            between.join(random.permutation([*random.choice(filler, 4), telling[label]]))
            for label in labels
        ]
        texts = tuple(unicodedata.normalize(form, row) for row in rows)
        return Examples(texts, labels, texts, (bytes(32),) * count)

    return Dataset(("a", "b"), part(60, "NFC"), None, part(30, form))


@pytest.mark.parametrize(
    ("telling", "filler", "between", "form"),
    [
        (("मेला", "मैली"), ["घर", "नमक", "सड़क", "फल", "जल"], " ", "NFC"),
        (("দিন", "দান"), ["ঘর", "নদী", "ফল", "জল"], ", ", "NFC"),
        (("கால்", "கோல்"), ["மரம்", "வீடு", "கடல்"], " ", "NFC"),
        (("ma", "mà"), ["nhà", "sông", "cây", "đi"], " ", "NFD"),
        (("ดี", "ดุ"), ["บ้าน", "ปลา", "แม่น้ำ"], "", "NFC"),
    ],
)
def test_words_that_differ_in_a_sign_are_told_apart(
    telling: tuple[str, str], filler: list[str], between: str, form: str
) -> None:
    data = dataset(telling, filler, between, form)
    assert (tfidf_logistic_regression(data, 0).argmax(1) == data.test.labels).mean() == 1
