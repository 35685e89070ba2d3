"""From texts to what a text network reads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.data.column import Column

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and forked loader processes do not go together
LOOKED_AT = 5_000  # texts
LONGEST_TOKEN = (
    100  # characters; a tokenizer takes 300 bytes of memory for each character of a text, also of those cut off
)


class TextEncoder:
    """A tokenizer; texts of more than `max_length` tokens are cut there, and a batch is padded to its longest text."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer, self._max_length = tokenizer, max_length
        self._names = [name for name in tokenizer.model_input_names if name != "attention_mask"]
        self._read = max_length * LONGEST_TOKEN  # characters

    def __call__(self, item: str | np.ndarray, seed: int | None = None) -> dict[str, Any]:
        return {"tokens": item} if isinstance(item, np.ndarray) else {"text": item}

    def decoded(self, item: str) -> np.ndarray:
        """What the tokenizer makes of a text, shape (names of its outputs, tokens), int32."""
        made = self._tokenizer(item[: self._read], truncation=True, max_length=self._max_length)
        return np.array([made[name] for name in self._names], np.int32)

    def show(self, item: str, seed: int | None = None) -> str:
        ids = self._tokenizer(item[: self._read], truncation=True, max_length=self._max_length)["input_ids"]
        return str(self._tokenizer.decode(ids))

    def pieces(self, item: str) -> list[str]:
        """The part of the text that each token stands for, up to the next one, "" for those that stand for none."""
        read = item[: self._read]
        if not self._tokenizer.is_fast:
            ids = self._tokenizer(read, truncation=True, max_length=self._max_length)["input_ids"]
            return [f"{piece} " for piece in self._tokenizer.convert_ids_to_tokens(ids)]
        made = self._tokenizer(read, truncation=True, max_length=self._max_length, return_offsets_mapping=True)
        spans: list[tuple[int, int]] = made["offset_mapping"]
        following = [start for start, end in spans if end > start][1:]
        ends = iter([*following, max((end for _, end in spans), default=0)])
        return [read[start : next(ends)] if end > start else "" for start, end in spans]

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        if "tokens" in samples[0]:
            return self._padded([sample["tokens"] for sample in samples])
        texts = [sample["text"][: self._read] for sample in samples]
        tokens = self._tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self._max_length,
            return_tensors="pt",
            return_attention_mask=True,
        )
        return dict(tokens)

    def _padded(self, rows: list[np.ndarray]) -> dict[str, Tensor]:
        """A batch of what `decoded` made, as the tokenizer would have padded it."""
        longest, left = max(row.shape[1] for row in rows), self._tokenizer.padding_side == "left"
        tokens = np.zeros((len(self._names), len(rows), longest), np.int64)
        tokens[self._names.index("input_ids")] = self._tokenizer.pad_token_id
        if "token_type_ids" in self._names:
            tokens[self._names.index("token_type_ids")] = self._tokenizer.pad_token_type_id
        mask = np.zeros((len(rows), longest), np.int64)
        for number, row in enumerate(rows):
            there = slice(longest - row.shape[1], None) if left else slice(row.shape[1])
            tokens[:, number, there], mask[number, there] = row, 1
        padded = dict(zip(self._names, tokens, strict=True)) | {"attention_mask": mask}
        return {name: torch.from_numpy(values) for name, values in padded.items()}

    def sizes(self, items: Sequence[str]) -> np.ndarray:
        if isinstance(items, Column):
            return items.sizes()
        return np.fromiter((len(item) for item in items), np.int32, len(items))

    def fingerprint(self, item: str) -> str:
        return text_digest(item)

    def look(self, items: Sequence[str]) -> tuple[int, float, int]:
        """(How many texts are cut, the share of tokens that the tokenizer does not know, how many texts were looked at: all,
        or 5,000 evenly spaced)."""
        rows = np.unique(np.linspace(0, len(items) - 1, min(len(items), LOOKED_AT)).round().astype(int))
        cut = tokens = unknown = 0
        for some in np.array_split(rows, -(-len(rows) // 500)):
            texts = [items[int(row)][: self._read] for row in some]
            made = self._tokenizer(texts, truncation=False, verbose=False)["input_ids"]
            cut += sum(len(ids) > self._max_length for ids in made)
            tokens += sum(map(len, made))
            unknown += sum(ids.count(self._tokenizer.unk_token_id) for ids in made)
        return cut, unknown / max(tokens, 1), len(rows)


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def save_tokenizer(tokenizer: Any, folder: Path) -> str:
    """Write a tokenizer's files, without the place it came from, into a folder: their SHA-256."""
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    plain = {key: value for key, value in json.loads(config.read_bytes()).items() if key != "name_or_path"}
    config.write_text(json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return files_digest(folder)


def files_digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files in a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()
