"""The tutorials' word vectors: GloVe's text file read by gensim, a loop over texts and words, a
forest on one core.

python -m benchmarks.controls.tutorial_words GLOVE.txt TRAIN.tsv TEST.tsv
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
from gensim.models import KeyedVectors
from sklearn.ensemble import RandomForestClassifier


def main() -> None:
    glove, *tables = sys.argv[1:]
    vectors = KeyedVectors.load_word2vec_format(glove, no_header=True)

    def embedded(text: str) -> np.ndarray:
        known = [vectors[word] for word in text.lower().split() if word in vectors]
        return np.mean(known, axis=0) if known else np.zeros(vectors.vector_size)

    def read(path: str) -> tuple[np.ndarray, np.ndarray]:
        table = pd.read_csv(path, sep="\t", quoting=3)
        return np.array([embedded(text) for text in table["sentence"]]), table["label"].to_numpy()

    forest = RandomForestClassifier(n_estimators=300, random_state=0).fit(*read(tables[0]))
    features, labels = read(tables[1])
    print(json.dumps({"accuracy": forest.score(features, labels), "n": len(labels)}))


if __name__ == "__main__":
    main()
