"""From texts to what a text network reads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from headstart.data.arrow_column import ArrowColumn

# its threads and forked loader processes do not go together
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
LOOKED_AT = 5_000  # texts
LONGEST_TOKEN = (
    # characters; a tokenizer takes 300 bytes of memory for each character of a text, also of those
    # cut off
    100
)


class TextPreprocessor:
    """A tokenizer; texts of more than `max_length` tokens are cut, and a batch is padded on the
    right to its longest text.

    White space around a text is left out where it could fill the tokens by itself.

    Args:
        keep: what remains of a longer text: its "start", its "end", or "both", half of the tokens
            from each (Sun et al. 2019).
    """

    def __init__(self, tokenizer: Any, max_length: int, keep: str) -> None:
        self._tokenizer, self._max_length, self._keep = tokenizer, max_length, keep
        tokenizer.truncation_side = "left" if keep == "end" else "right"
        self._names = [name for name in tokenizer.model_input_names if name != "attention_mask"]
        self._most = max_length * LONGEST_TOKEN  # characters

    def __call__(self, item: str | np.ndarray, seed: int | None = None) -> dict[str, Any]:
        return {"tokens": item} if isinstance(item, np.ndarray) else {"text": item}

    def decoded(self, item: str) -> np.ndarray:
        """What the tokenizer makes of a text, shape (names of its outputs, tokens), int32."""
        return self._rows([item])[0]

    def show(self, item: str, seed: int | None = None) -> str:
        return str(self._tokenizer.decode(self._ids(item)))

    def pieces(self, item: str) -> list[str]:
        """The part of the text that each token stands for, up to the next one, "" for those that
        stand for none."""
        if not self._tokenizer.is_fast:
            return [f"{piece} " for piece in self._tokenizer.convert_ids_to_tokens(self._ids(item))]
        spans = self._tokenize([item], return_offsets_mapping=True)["offset_mapping"][0]
        parts = [_pieces(self._readable(item), spans[part]) for part in self._parts(len(spans))]
        return [piece for part in parts[:-1] for piece in [*part[:-1], f"{part[-1]} … "]] + parts[
            -1
        ]

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        if "tokens" in samples[0]:
            return self._padded([sample["tokens"] for sample in samples])
        return self._padded(self._rows([sample["text"] for sample in samples]))

    def _readable(self, text: str) -> str:
        """The characters that may count: a tokenizer reads no more of a huge text."""
        bare = text.strip()
        if len(text) - len(bare) > self._max_length:
            text = bare
        if len(text) <= self._most:
            return text
        if self._keep == "both":
            return f"{text[: self._most // 2]} {text[-self._most // 2 :]}"
        return text[-self._most :] if self._keep == "end" else text[: self._most]

    def _tokenize(self, texts: Sequence[str], **options: Any) -> Any:
        """Cut at one side by the tokenizer itself; the middle is left in."""
        return self._tokenizer(
            [self._readable(text) for text in texts],
            truncation=self._keep != "both",
            max_length=self._max_length,
            verbose=False,
            **options,
        )

    def _parts(self, tokens: int) -> list[slice]:
        """Which of a text's tokens are kept after `_tokenize`."""
        if tokens <= self._max_length:
            return [slice(tokens)]
        head = (self._max_length + 1) // 2
        return [slice(head), slice(tokens - self._max_length + head, tokens)]

    def _rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        made = self._tokenize(texts)
        rows = [
            np.array(row, np.int32)
            for row in zip(*(made[name] for name in self._names), strict=True)
        ]
        return [
            np.concatenate([row[:, part] for part in self._parts(row.shape[1])], axis=1)
            for row in rows
        ]

    def _ids(self, item: str) -> np.ndarray:
        return self.decoded(item)[self._names.index("input_ids")]

    def _padded(self, rows: list[np.ndarray]) -> dict[str, Tensor]:
        """A batch of what `decoded` made. Padding on the right leaves a text's positions as they
        are when it is alone."""
        longest = max(row.shape[1] for row in rows)
        tokens = np.zeros((len(self._names), len(rows), longest), np.int64)
        tokens[self._names.index("input_ids")] = self._tokenizer.pad_token_id
        if "token_type_ids" in self._names:
            tokens[self._names.index("token_type_ids")] = self._tokenizer.pad_token_type_id
        mask = np.zeros((len(rows), longest), np.int64)
        for number, row in enumerate(rows):
            tokens[:, number, : row.shape[1]], mask[number, : row.shape[1]] = row, 1
        padded = dict(zip(self._names, tokens, strict=True)) | {"attention_mask": mask}
        return {name: torch.from_numpy(values) for name, values in padded.items()}

    def sizes(self, items: Sequence[str]) -> np.ndarray:
        if isinstance(items, ArrowColumn):
            return items.sizes()
        return np.fromiter((len(item) for item in items), np.int32, len(items))

    def fingerprint(self, item: str) -> str:
        return text_digest(item)

    def look(self, items: Sequence[str]) -> tuple[int, float, int]:
        """(How many texts are cut, the share of tokens that the tokenizer does not know, how many
        texts were looked at: all, or 5,000 evenly spaced)."""
        rows = np.unique(
            np.linspace(0, len(items) - 1, min(len(items), LOOKED_AT)).round().astype(int)
        )
        cut = tokens = unknown = 0
        for some in np.array_split(rows, -(-len(rows) // 500)):
            texts = [items[int(row)].strip() for row in some]
            made = self._tokenizer(
                list(map(self._readable, texts)), truncation=False, verbose=False
            )["input_ids"]
            long = [
                len(ids) > self._max_length or len(text) > self._most
                for ids, text in zip(made, texts, strict=True)
            ]
            cut += sum(long)
            tokens += sum(map(len, made))
            unknown += sum(ids.count(self._tokenizer.unk_token_id) for ids in made)
        return cut, unknown / max(tokens, 1), len(rows)


def stated_keep(tokenizer: Any) -> Literal["start", "end"]:
    """What a tokenizer keeps of a text that is too long, by its own `truncation_side`: "start" or
    "end"."""
    return "end" if tokenizer.truncation_side == "left" else "start"


def _pieces(text: str, spans: list[tuple[int, int]]) -> list[str]:
    following = [start for start, end in spans if end > start][1:]
    ends = iter([*following, max((end for _, end in spans), default=0)])
    return [text[start : next(ends)] if end > start else "" for start, end in spans]


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def save_tokenizer(tokenizer: Any, folder: Path) -> str:
    """Write a tokenizer's files, without the place it came from, into a folder: their SHA-256."""
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    plain = {
        key: value
        for key, value in json.loads(config.read_bytes()).items()
        if key != "name_or_path"
    }
    config.write_text(
        json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return files_digest(folder)


def files_digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files in a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()
