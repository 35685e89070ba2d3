"""transformers encoders as networks: blocks, pooling, reading, saving, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel

from headstart.data.dataset import Dataset, Examples
from headstart.errors import HeadstartError
from headstart.models.blocks import Blocks
from headstart.models.network import build_head
from headstart.models.pooled_encoder import POOLINGS
from headstart.models.spec import TextSpec, read_spec
from headstart.models.text import load_text_network, text_network
from headstart.models.text_backbone import features, random_backbone, text_blocks
from headstart.models.text_preprocessor import LONGEST_TOKEN
from headstart.recipe import Head, Model, Preprocessing
from headstart.transfer.plan import Phase
from tests.conftest import PLAIN, save_bert

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}
# configuration, pooling, blocks after the layers
FAMILIES: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "bert": (SMALL, "pooler", ("pooler",)),
    "bert, mean": (SMALL, "mean", ()),
    "roberta": (SMALL, "mean", ()),
    "distilbert": ({"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "vocab_size": 50},
    "cls", ()),
    "electra": ({**SMALL, "embedding_size": 8}, "cls", ()),
    "deberta-v2": (
        {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm"}, "cls", ()
    ),
    "modernbert": ({**SMALL, "pad_token_id": 0}, "mean", ("neck",)),
    "gpt2": ({"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 50}, "last", ("neck",)),
}  # fmt: skip


def texts(count: int = 8) -> Dataset:
    items = tuple(" ".join(PLAIN[: 1 + number % 7]) for number in range(count))
    part = Examples(items, np.arange(count) % 2, items, (bytes(32),) * count)
    return Dataset(("a", "b"), part, None, part)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_stands_in_exactly_one_block(family: str) -> None:
    settings, pooling, after = FAMILIES[family]
    config = AutoConfig.for_model(family.split(",")[0], **settings)
    net = random_backbone(config, (), pooling)
    net["head"] = build_head(Head(), 16, 2)

    class Partitioned:
        def __init__(self) -> None:
            self.net, self.partition = net, text_blocks(net)

        def set_trainable(self, names: Any) -> None: ...

    blocks = Blocks(Partitioned())
    assert blocks.names == ("embeddings", "layer 1", "layer 2", "layer 3", *after, "head")
    assert len({blocks.size(f"layer {number}") for number in (2, 3)}) == 1
    assert all(blocks.size(name) for name in blocks.names)
    assert sum(map(blocks.size, blocks.names)) == sum(
        parameter.numel() for parameter in net.parameters()
    )
    inputs = {
        "input_ids": torch.randint(5, 50, (2, 7)),
        "attention_mask": torch.ones(2, 7, dtype=torch.long),
    }
    net["head"](
        POOLINGS[pooling](net["encoder"](**inputs), inputs["attention_mask"])
    ).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == [], (
        "several processes would wait for these"
    )


def test_batches_are_padded_as_the_tokenizer_would(bert: Path) -> None:
    preprocessor = text_network(Model(backbone=str(bert)), texts(), True)[0].preprocessor()
    some = ["the film", "", "the film was good " * 100, "a scene and music"]
    expected = preprocessor._tokenizer(
        some, padding=True, truncation=True, max_length=64, return_tensors="pt"
    )
    for samples in (
        [preprocessor(text) for text in some],
        [preprocessor(preprocessor.decoded(text)) for text in some],
    ):
        found = preprocessor.collate(samples)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert torch.equal(found[name], values)


def test_pooling_is_what_its_name_says(bert: Path) -> None:
    network = text_network(Model(backbone=str(bert)), texts(), True)[0].eval()
    inputs = network.preprocessor().collate([{"text": "the film"}, {"text": "a scene and music"}])
    with torch.inference_mode():
        # [CLS] the film [SEP] [PAD] [PAD]
        vectors = network.net["encoder"](**inputs).last_hidden_state
        torch.testing.assert_close(network.features(**inputs)[0], vectors[0, :4].mean(0))
        last = features(network.net, "last", inputs)
        torch.testing.assert_close(last[0], vectors[0, 3])


def test_weights_are_those_of_the_folder_and_scratch_has_none_of_them(bert: Path) -> None:
    theirs = AutoModel.from_pretrained(bert).state_dict()
    ours = text_network(Model(backbone=str(bert)), texts(), True)[0].net["encoder"].state_dict()
    assert set(theirs) - set(ours) == {"pooler.dense.weight", "pooler.dense.bias"}
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)
    fresh, _ = text_network(Model(backbone=str(bert)), texts(), False)
    word = "embeddings.word_embeddings.weight"
    assert not torch.equal(fresh.net["encoder"].state_dict()[word], theirs[word])
    assert fresh.spec.pretrained is None


def test_reload_gives_equal_logits_tokens_and_length(bert: Path, tmp_path: Path) -> None:
    asked = Model(
        backbone=str(bert),
        preprocessing=Preprocessing(max_length=6),
        head=Head(hidden=(8,), dropout=(0.2, 0.1)),
    )
    network = text_network(asked, texts(), True)[0].eval()
    network.save(tmp_path)
    again = load_text_network(tmp_path, read_spec(tmp_path)).eval()
    samples = [
        {"text": "the film was good and the music was lovely"},
        {"text": "a dull unknownword"},
    ]
    ours, theirs = network.preprocessor().collate(samples), again.preprocessor().collate(samples)
    assert ours["input_ids"].shape == (2, 6)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key])
    with torch.inference_mode():
        assert torch.equal(network(**ours), again(**theirs))
    assert again.reads == "texts of up to 6 tokens, pooling: mean"


def test_nothing_is_said_of_new_weights(
    bert: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = logging.getLogger("transformers").level
    text_network(Model(backbone=str(bert)), texts(), True)
    said = capfd.readouterr()
    assert said.out + said.err == ""
    assert logging.getLogger("transformers").level == before
    assert transformers.logging.get_verbosity() is not None


def test_texts_that_are_cut_are_counted(bert: Path) -> None:
    asked = Model(backbone=str(bert), preprocessing=Preprocessing(max_length=6))
    # 1 to 7 words, [CLS] and [SEP]: those of 5, 6 and 7 words are cut
    _, notes = text_network(asked, texts(14), True)
    assert notes == [
        "42.9 % of the training texts are longer than 6 tokens and are cut there "
        "(model.preprocessing.max_length, at most 64)"
    ]


def test_of_a_huge_text_no_more_is_read_than_can_count(bert: Path) -> None:
    asked = Model(backbone=str(bert), preprocessing=Preprocessing(max_length=8))
    preprocessor: Any = text_network(asked, texts(), True)[0].preprocessor()
    seen: list[int] = []
    real = preprocessor._tokenizer

    def tokenize(text: Any, **options: Any) -> Any:
        seen.extend(map(len, [text] if isinstance(text, str) else text))
        return real(text, **options)

    ids = {
        name: getattr(real, name) for name in ("unk_token_id", "pad_token_id", "pad_token_type_id")
    }
    preprocessor._tokenizer = Mock(wraps=real, side_effect=tokenize, **ids)
    huge = "good " * 1_000_000
    assert preprocessor.statistics([huge]).truncated == 1
    assert preprocessor.collate([preprocessor(huge)])["input_ids"].shape == (1, 8)
    assert len(preprocessor.show(huge).split()) == 8
    assert max(seen) == 8 * LONGEST_TOKEN


def test_a_language_that_the_tokenizer_does_not_know_is_said(bert: Path) -> None:
    items = ("le", "film", "nul", "plot") * 4
    part = Examples(items, np.arange(16) % 2, items, (bytes(32),) * 16)
    foreign = Dataset(("a", "b"), part, None, part)
    # of [CLS] word [SEP], half of the words
    _, notes = text_network(Model(backbone=str(bert)), foreign, True)
    assert notes == [
        f"17 % of the tokens of the training texts are unknown to {bert}; was it made for their "
        "language?"
    ]


def test_a_sentence_embedder_says_how_it_pools(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "embedder", PLAIN)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text(
        '[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}]'
    )
    assert (
        text_network(Model(backbone=str(folder)), texts(), True)[0].spec.preprocessing.pooling
        == "cls"
    )


def gpt2(folder: Path) -> Path:
    """A tiny GPT-2, whose tokenizer has no pad token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    words = ["<|endoftext|>", *PLAIN]
    made = Tokenizer(
        models.WordLevel(
            {word: number for number, word in enumerate(words)}, unk_token="<|endoftext|>"
        )
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    GPT2Model(
        GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=len(words), n_positions=64)
    ).save_pretrained(folder)
    return folder


def test_gpt2_needs_a_pad_token_and_pools_the_last_one(tmp_path: Path) -> None:
    folder = gpt2(tmp_path / "gpt2")
    with pytest.raises(HeadstartError, match=r'has no pad token.*pad_token = "<\|endoftext\|>"'):
        text_network(Model(backbone=str(folder)), texts(), True)
    with pytest.raises(HeadstartError, match="pad_token: '<pad>' is no token"):
        text_network(
            Model(backbone=str(folder), preprocessing=Preprocessing(pad_token="<pad>")),
            texts(),
            True,
        )
    asked = Model(backbone=str(folder), preprocessing=Preprocessing(pad_token="<|endoftext|>"))
    network = text_network(asked, texts(), True)[0].eval()
    assert network.spec.preprocessing.pooling == "last"
    preprocessor = network.preprocessor()
    with torch.inference_mode():
        alone = network(**preprocessor.collate([{"text": "the film"}]))
        beside = network(
            **preprocessor.collate([{"text": "the film"}, {"text": "the film was a plot"}])
        )
    torch.testing.assert_close(alone[0], beside[0], rtol=1e-5, atol=1e-6)
    network.save(tmp_path / "run")
    again = load_text_network(tmp_path / "run", read_spec(tmp_path / "run"))
    assert again.tokenizer.pad_token == "<|endoftext|>"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preprocessing": {"max_length": 65}},
        "max_length: found 65; .* allows texts of at most 64 tokens"),
        ({"preprocessing": {"size": 32}},
        "model.preprocessing.size: this backbone has no use for it"),
        ({"preprocessing": {"pooling": "tfidf"}}, "tfidf weighs word vectors"),
        ({"weights": "w.safetensors"}, "text backbones bring their own"),
        ({"backbone": "packaged:efficientnet_lite0"},
        "is of the kind 'vision'.*such as packaged:minilm_l6"),
        ({"backbone": "no/such"}, "could not be had from the hub.*packaged:minilm_l6"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_message(changes: dict[str, Any], said: str, bert: Path) -> None:
    with pytest.raises(HeadstartError, match=said):
        text_network(Model.model_validate({"backbone": str(bert), **changes}), texts(), True)


def test_a_folder_that_is_no_whole_model(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "bert", PLAIN)
    state = __import__("safetensors.torch", fromlist=["load_file"])
    held = state.load_file(folder / "model.safetensors")
    gone = {key: value for key, value in held.items() if "layer.1.output" not in key}
    state.save_file(gone, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        HeadstartError, match="do not fit its config.json: 4 tensors are missing.*layer.1.output"
    ):
        text_network(Model(backbone=str(folder)), texts(), True)
    (folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(HeadstartError, match="no usable transformers folder"):
        text_network(Model(backbone=str(folder)), texts(), True)
    (folder / "config.json").unlink()
    with pytest.raises(
        HeadstartError, match=r"has no config.json; expected the folder of a transformers model"
    ):
        text_network(Model(backbone=str(folder)), texts(), True)


def test_a_tokenizer_that_does_not_fit_is_noticed(tmp_path: Path, bert: Path) -> None:
    folder = save_bert(tmp_path / "bert", [f"word{number}" for number in range(3)])
    for path in [*bert.glob("*token*"), bert / "vocab.txt"]:
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        HeadstartError, match="has tokens up to number 22; its encoder has vectors for 8"
    ):
        text_network(Model(backbone=str(folder)), texts(), True)
    for path in [*folder.glob("*token*"), folder / "vocab.txt"]:
        path.unlink()
    with pytest.raises(HeadstartError, match="tokenizer of .* knows no words"):
        text_network(Model(backbone=str(folder)), texts(), True)


@pytest.mark.parametrize("damage", ["gone", "other", "no file", "length", "layers"])
def test_a_saved_run_with_other_parts_is_refused(damage: str, bert: Path, tmp_path: Path) -> None:
    text_network(Model(backbone=str(bert)), texts(), True)[0].save(tmp_path)
    spec = read_spec(tmp_path)
    assert isinstance(spec, TextSpec)
    held = tmp_path / "tokenizer"
    if damage == "gone":
        held.rename(tmp_path / "elsewhere")
    elif damage == "other":
        vocabulary = (held / "tokenizer.json").read_text()
        (held / "tokenizer.json").write_text(vocabulary.replace('"film"', '"flim"'))
    elif damage == "no file":
        (held / "tokenizer.json").unlink()
    elif damage == "length":
        config = json.loads((tmp_path / "config.json").read_text())
        config["preprocessing"]["max_length"] = "x"
        (tmp_path / "config.json").write_text(json.dumps(config))
    else:
        spec.config["num_attention_heads"] = 0
    with pytest.raises(HeadstartError, match="damaged|expected the tokenizer of a run"):
        load_text_network(tmp_path, read_spec(tmp_path) if damage == "length" else spec)


def test_frozen_layers_stay_frozen_to_the_bit(bert: Path) -> None:
    network, _ = text_network(Model(backbone=str(bert)), texts(), True)
    blocks = Blocks(network)
    blocks.open(Phase("some", {"layer 2": 1e-2, "head": 1e-2}, 1))
    before = {name: value.clone() for name, value in network.net.state_dict().items()}
    steps = torch.optim.AdamW(
        blocks.groups(Phase("some", {"layer 2": 1e-2, "head": 1e-2}, 1), 0.01)
    )
    network.train()
    inputs = network.preprocessor().collate([{"text": "the film"}, {"text": "a plot"}])
    nn.functional.cross_entropy(network(**inputs), torch.tensor([0, 1])).backward()
    steps.step()
    moved = {
        name
        for name, value in network.net.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert all(name.startswith(("encoder.encoder.layer.1.", "head.")) for name in moved)
    assert {name.split(".")[0] for name in moved} == {"encoder", "head"}
    assert not network.net["encoder"].embeddings.training, "frozen dropout stays off"
