"""The HF Trainer as it comes, for one epoch: batches of 8, AdamW at 5e-5, fp32, each batch padded
to its longest text.

python -m benchmarks.controls.trainer_defaults ENCODER TRAIN.tsv TEST.tsv
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

SKIPPED = 2


class Clock(TrainerCallback):
    """When the first steps were over."""

    def on_step_end(self, args, state, control, **_):
        if state.global_step == SKIPPED:
            self.started = time.perf_counter()


def main() -> None:
    encoder, *tables = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    train, test = (
        Dataset.from_pandas(pd.read_csv(path, sep="\t", quoting=3)).map(
            lambda rows: tokenizer(rows["sentence"], truncation=True, max_length=128), batched=True
        )
        for path in tables
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2),
            args=TrainingArguments(
                output_dir=folder, num_train_epochs=1, report_to="none", disable_tqdm=True
            ),
            train_dataset=train,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[clock],
        )
        trainer.train()
        seconds = time.perf_counter() - clock.started
        output = trainer.predict(test)
    right = np.asarray(output.predictions).argmax(1) == output.label_ids
    seen = len(train) - SKIPPED * trainer.args.train_batch_size
    print(
        json.dumps(
            {
                "examples_per_second": seen / seconds,
                "accuracy": right.mean().item(),
                "n": len(right),
            }
        )
    )


if __name__ == "__main__":
    main()
