"""How texts become batches: a text is read alone as beside others, and of a long one the part that
was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from headstart.data.dataset import Dataset, Examples
from headstart.errors import HeadstartError
from headstart.models.pooled_encoder import POOLINGS, encoder_class
from headstart.models.text import text_network
from headstart.models.text_preprocessor import LONGEST_TOKEN, TextPreprocessor
from headstart.recipe import Model, Preprocessing
from tests.conftest import PLAIN

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
LLAMA = {**SIZES, "num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES,
    "mpnet": SIZES,
    "albert": {**SIZES, "embedding_size": 8},
    "electra": {**SIZES, "embedding_size": 8},
    "deberta-v2": {**SIZES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": SIZES,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "opt": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32,
    "word_embed_proj_dim": 16},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "llama": LLAMA,
    "qwen2": LLAMA,
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
    "t5": {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 32, "d_kv": 8},
}  # fmt: skip
TEXTS = ("the film", "a plot and the cast was a scene", "music")


def save_tokenizer(folder: Path, template: str = "[CLS] $A [SEP]", **options: Any) -> Path:
    """The files of a fast tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, *PLAIN]
    made = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    known = [(name, number) for number, name in enumerate(SPECIAL) if name in template]
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=known)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=made, **names, **options).save_pretrained(folder)
    return folder


def save_family(folder: Path, family: str, **options: Any) -> Path:
    """A tiny encoder whose weights are large enough for every token to count, with a tokenizer that
    pads on the left."""
    ids = {
        "pad_token_id": 0,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    config = AutoConfig.for_model(family, **FAMILIES[family], vocab_size=20, **ids)
    torch.manual_seed(0)
    preprocessor = encoder_class(config).from_config(config)
    for parameter in preprocessor.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    preprocessor.save_pretrained(folder)
    return save_tokenizer(folder, **{"padding_side": "left", **options})


def dataset(items: tuple[str, ...] = TEXTS) -> Dataset:
    part = Examples(items, np.arange(len(items)) % 2, items, (bytes(32),) * len(items))
    return Dataset(("a", "b"), part, None, part)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_is_read_alone_as_beside_others(family: str, tmp_path: Path) -> None:
    folder = save_family(tmp_path, family)
    pooling = "pooler" if family in ("bert", "roberta", "mpnet", "albert") else "mean"
    asked = Model(backbone=str(folder), preprocessing=Preprocessing(pooling=pooling))
    network = text_network(asked, dataset(), True)[0].eval()
    preprocessor = network.preprocessor()
    head = torch.randn(16, 3) / 8
    for sample in (
        lambda text: preprocessor(text),
        lambda text: preprocessor(preprocessor.decoded(text)),
    ):
        together, *alone = (
            preprocessor.collate([sample(text) for text in texts])
            for texts in (TEXTS, *((text,) for text in TEXTS))
        )
        with torch.inference_mode():
            outputs = [
                (network.net["encoder"](**inputs), inputs["attention_mask"])
                for inputs in (together, *alone)
            ]
            for name in POOLINGS.keys() - ({"pooler"} if pooling != "pooler" else set()):
                beside, *single = (
                    (POOLINGS[name](*output) @ head).softmax(-1) for output in outputs
                )
                torch.testing.assert_close(
                    beside, torch.cat(single), rtol=0, atol=1e-5, msg=f"{family}, {name}"
                )
                assert name != "mean" or (beside[0] - beside[1]).abs().max() > 1e-4, (
                    "the texts are told apart"
                )


def test_a_text_that_padding_changes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_family(tmp_path, "bert")
    whole = TextPreprocessor._padded

    def blind(*given: Any) -> dict[str, torch.Tensor]:
        padded = whole(*given)
        return {**padded, "attention_mask": torch.ones_like(padded["attention_mask"])}

    monkeypatch.setattr(TextPreprocessor, "_padded", blind)
    with pytest.raises(HeadstartError, match="in another way where longer ones stand beside it"):
        text_network(Model(backbone=str(folder)), dataset(), True)


@pytest.mark.parametrize(
    ("family", "template", "said"),
    [
        ("gpt2", "$A", "its tokens see only those before them"),
        ("xlnet", "$A [SEP] [CLS]", r"puts \[CLS\] last"),
    ],
)
def test_a_first_token_that_has_read_nothing_is_no_cls(
    family: str, template: str, said: str, tmp_path: Path
) -> None:
    folder = save_family(tmp_path, family, template=template)
    with pytest.raises(
        HeadstartError, match=f'cls is the vector of the first token .* {said}; expected "last"'
    ):
        text_network(
            Model(backbone=str(folder), preprocessing=Preprocessing(pooling="cls")), dataset(), True
        )


LONG = "a film " + "was " * 40 + "good music"


@pytest.mark.parametrize(
    ("side", "keep", "template", "expected"),
    [
        ("right", None, "[CLS] $A [SEP]", "[CLS] a film was was [SEP]"),
        ("right", "end", "[CLS] $A [SEP]", "[CLS] was was was music [SEP]"),
        ("right", "both", "[CLS] $A [SEP]", "[CLS] a film … was music [SEP]"),
        ("right", "both", "$A", "a film was … was was music"),
        ("left", None, "[CLS] $A [SEP]", "[CLS] was was was music [SEP]"),
        ("left", "start", "[CLS] $A [SEP]", "[CLS] a film was was [SEP]"),
        ("left", "both", "[CLS] $A [SEP]", "[CLS] a film … was music [SEP]"),
    ],
)
@pytest.mark.parametrize("huge", [False, True])
def test_the_part_of_a_long_text_that_is_kept(
    side: str, keep: Any, template: str, expected: str, huge: bool, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        save_tokenizer(tmp_path, template, truncation_side=side)
    )
    preprocessor = TextPreprocessor(tokenizer, 6, keep or ("end" if side == "left" else "start"))
    text = LONG.replace("good ", "was ")
    if huge:
        text = text.replace("film", "film " + "was " * 6 * LONGEST_TOKEN)
    shown = expected.replace("… ", "")
    for changed in (text, f"{' ' * 2_000}{text}{' ' * 2_000}"):
        assert preprocessor.show(changed) == shown
        ids = preprocessor.collate([preprocessor(changed), preprocessor("a film")])["input_ids"][0]
        assert ids.tolist() == preprocessor.decoded(changed)[0].tolist()
        assert preprocessor.statistics([changed]).truncated == 1
        pieces = preprocessor.pieces(changed)
        assert [bool(piece) for piece in pieces] == [word not in SPECIAL for word in shown.split()]
        assert "".join(pieces).split() == [word for word in expected.split() if word not in SPECIAL]
    assert preprocessor.show("  a film ") == (
        "a film" if template == "$A" else "[CLS] a film [SEP]"
    )
