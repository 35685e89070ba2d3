"""The tutorials' fine-tuning of an encoder: every text padded to 128 tokens, fp32, AdamW, a loop of
one's own.

    python -m benchmarks.controls.tutorial_text ENCODER TRAIN.tsv TEST.tsv [--epochs 1]

The tables have the columns `sentence` and `label`. The first two steps are left out of the speed.
"""

from __future__ import annotations

import argparse
import json
import time

import pandas as pd
import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer

SKIPPED, BATCH = 2, 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoder")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)

    def encoded(path: str) -> TensorDataset:
        table = pd.read_csv(path, sep="\t", quoting=3)
        tokens = tokenizer(
            table["sentence"].tolist(),
            padding="max_length",
            truncation=True,
            max_length=128,
            return_tensors="pt",
        )
        return TensorDataset(
            tokens["input_ids"], tokens["attention_mask"], torch.tensor(table["label"].tolist())
        )

    model = AutoModelForSequenceClassification.from_pretrained(args.encoder, num_labels=2).to(
        device
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    model.train()
    seen = steps = 0
    for _ in range(args.epochs):
        for batch in DataLoader(encoded(args.train), batch_size=BATCH, shuffle=True):
            ids, mask, labels = (tensor.to(device) for tensor in batch)
            optimizer.zero_grad()
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            optimizer.step()
            loss.item()
            steps += 1
            if steps == SKIPPED:
                started = time.perf_counter()
            elif steps > SKIPPED:
                seen += len(labels)
    speed = seen / (time.perf_counter() - started)
    model.eval()
    right = count = 0
    with torch.no_grad():
        for batch in DataLoader(encoded(args.test), batch_size=BATCH):
            ids, mask, labels = (tensor.to(device) for tensor in batch)
            right += int(
                (model(input_ids=ids, attention_mask=mask).logits.argmax(1) == labels).sum()
            )
            count += len(labels)
    print(json.dumps({"examples_per_second": speed, "accuracy": right / count, "n": count}))


if __name__ == "__main__":
    main()
