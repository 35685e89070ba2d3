"""From texts to the input of a text network."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from headstart.data.arrow_column import ArrowColumn
from headstart.models.preprocessor import Sample

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerBase

SAMPLED, CHUNK = 5_000, 500  # texts
# characters; a tokenizer takes 300 bytes for each character of a text, also of those cut off
LONGEST_TOKEN = 100


class TokenStatistics(NamedTuple):
    truncated: int  # texts
    unknown: float  # share of tokens
    texts: int  # that were counted


class TextPreprocessor:
    """A tokenizer that cuts texts to `max_length` tokens and pads a batch on the right.

    White space around a text is left out where it could fill all tokens.

    Args:
        keep: what remains of a longer text: its "start", its "end", or "both", half of the tokens
            from each (Sun et al. 2019).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, keep: str) -> None:
        # the threads of tokenizers would deadlock in forked loader processes
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer, self._max_length, self._keep = tokenizer, max_length, keep
        tokenizer.truncation_side = "left" if keep == "end" else "right"
        self._names = [name for name in tokenizer.model_input_names if name != "attention_mask"]
        self._max_characters = max_length * LONGEST_TOKEN

    def __call__(self, item: str | np.ndarray, seed: int | None = None) -> Sample:
        return {"tokens": item} if isinstance(item, np.ndarray) else {"text": item}

    def decoded(self, item: str) -> np.ndarray:
        """The tokenizer's outputs for a text, shape (outputs, tokens), int32."""
        return self._rows([item])[0]

    def show(self, item: str, seed: int | None = None) -> str:
        return str(self._tokenizer.decode(self._ids(item)))

    def pieces(self, item: str) -> list[str]:
        """The text from each token up to the next one; "" for special tokens."""
        if not self._tokenizer.is_fast:
            return [f"{piece} " for piece in self._tokenizer.convert_ids_to_tokens(self._ids(item))]
        spans = self._tokenize([item], offsets=True)["offset_mapping"][0]
        *first, last = (
            _pieces(self._shortened(item), spans[part]) for part in self._kept(len(spans))
        )
        return [piece for part in first for piece in (*part[:-1], f"{part[-1]} … ")] + last

    def collate(self, samples: list[Sample]) -> dict[str, Tensor]:
        if "tokens" in samples[0]:
            return self._padded([sample["tokens"] for sample in samples])
        return self._padded(self._rows([sample["text"] for sample in samples]))

    def _shortened(self, text: str) -> str:
        """The characters that can become tokens that are kept."""
        stripped = text.strip()
        if len(text) - len(stripped) > self._max_length:
            text = stripped
        limit = self._max_characters
        if len(text) <= limit:
            return text
        if self._keep == "both":
            return f"{text[: limit // 2]} {text[-limit // 2 :]}"
        return text[-limit:] if self._keep == "end" else text[:limit]

    def _tokenize(
        self, texts: Sequence[str], truncate: bool = True, offsets: bool = False
    ) -> BatchEncoding:
        """Texts cut at one end by the tokenizer; with "both" they are not cut."""
        outputs: BatchEncoding = self._tokenizer(
            [self._shortened(text) for text in texts],
            truncation=truncate and self._keep != "both",
            max_length=self._max_length,
            return_offsets_mapping=offsets,
            verbose=False,
        )
        return outputs

    def _kept(self, tokens: int) -> list[slice]:
        """Which of a text's tokens are kept after `_tokenize`."""
        if tokens <= self._max_length:
            return [slice(tokens)]
        head = (self._max_length + 1) // 2
        return [slice(head), slice(tokens - self._max_length + head, tokens)]

    def _rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        outputs = self._tokenize(texts)
        rows = zip(*(outputs[name] for name in self._names), strict=True)
        return [
            np.concatenate([values[:, part] for part in self._kept(values.shape[1])], axis=1)
            for values in (np.array(row, np.int32) for row in rows)
        ]

    def _ids(self, item: str) -> list[int]:
        ids: list[int] = self.decoded(item)[self._names.index("input_ids")].tolist()
        return ids

    def _padded(self, rows: list[np.ndarray]) -> dict[str, Tensor]:
        """A batch of results of `decoded`."""
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

    def statistics(self, items: Sequence[str]) -> TokenStatistics:
        """Counts over all texts, or over 5,000 evenly spaced ones."""
        spaced = np.linspace(0, len(items) - 1, min(len(items), SAMPLED))
        rows = np.unique(spaced.round().astype(int)).tolist()
        truncated = tokens = unknown = 0
        for start in range(0, len(rows), CHUNK):
            texts = [items[row].strip() for row in rows[start : start + CHUNK]]
            all_ids = self._tokenize(texts, truncate=False)["input_ids"]
            truncated += sum(
                len(ids) > self._max_length or len(text) > self._max_characters
                for ids, text in zip(all_ids, texts, strict=True)
            )
            tokens += sum(map(len, all_ids))
            unknown += sum(ids.count(self._tokenizer.unk_token_id) for ids in all_ids)
        return TokenStatistics(truncated, unknown / max(tokens, 1), len(rows))


def default_keep(tokenizer: PreTrainedTokenizerBase) -> Literal["start", "end"]:
    """What a tokenizer keeps of a text that is too long, by its `truncation_side`."""
    return "end" if tokenizer.truncation_side == "left" else "start"


def _pieces(text: str, spans: list[tuple[int, int]]) -> list[str]:
    following = [start for start, end in spans if end > start][1:]
    ends = iter([*following, max((end for _, end in spans), default=0)])
    return [text[start : next(ends)] if end > start else "" for start, end in spans]


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    """Write a tokenizer's files, without the path it came from, into a folder: their SHA-256."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_bytes())
    config.pop("name_or_path", None)
    content = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(content + "\n", encoding="utf-8")
    return files_digest(folder)


def files_digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files in a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()
