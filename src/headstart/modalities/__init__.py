"""Modalities: what an example is made of. Each file of this package registers one, and is imported
on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from headstart.checks.duplicates import Duplicates
    from headstart.data.class_folders import FileKind
    from headstart.data.dataset import Dataset, Examples
    from headstart.data.inputs import Input
    from headstart.models.network import Network
    from headstart.models.preprocessor import Preprocessor
    from headstart.models.spec import Spec
    from headstart.recipe import Model, Recipe

    # an example with what spoke for a class: a picture, or the parts of a text with their weights
    Highlighted = Image | list[tuple[str, float]]

# the kind that a saved network states → the modality that it reads
BY_KIND = {"vision": "image", "text": "text", "word_vectors": "words"}


class UnsupportedFormatError(ValueError):
    """A file in a format that is not taken, in a sentence."""


@dataclass(frozen=True)
class Upload:
    """Examples that a request brings as the contents of files.

    media_type: which files, such as "image/*".
    open: the preprocessor's input from a content, not yet decoded; raises UnsupportedFormatError,
        `too_large`, or whatever its reader raises.
    size: of what was opened, in `unit`: the product of its sides is limited.
    """

    media_type: str
    open: Callable[[bytes], object]
    size: Callable[[Any], tuple[int, ...]]
    unit: str
    too_large: type[Exception]


@dataclass(frozen=True)
class Defaults:
    """What `headstart init` proposes: a backbone that installs as a package, one from a hub, larger
    ones to try with a GPU, and a learning rate for fine-tuning."""

    packaged: str
    hub: str
    larger: str
    lr: str


@dataclass(frozen=True)
class Modality:
    """What differs between examples of different kinds, and nothing about what is predicted.

    Data:
        noun: of one example in sentences; also its field in requests and its column in tables.
        files: which files hold an example.
        read: the recipe's data.
        from_paths, from_objects: the examples that arguments of a prediction or Python objects
            stand for, given the column of tables that was trained on.
        duplicates: which examples are alike.
        notes: what is odd about examples.
    Networks:
        network: the backbone with a head for a data set's labels, pretrained or not, and notes.
        load: the network that a run saved.
        tunable: whether a backbone has anything to train.
        baselines: names of those in evaluate.baselines that read such examples, the usual first.
        policies: how training examples may be augmented, the default first.
    Inference:
        example: one to try a model with.
        chunk: how many examples are read at a time.
        preprocessor_files, preprocessor: what an exported file holds of a network's preprocessor
            beside its spec, and the preprocessor from both (spec, files).
        describe_paths: what arguments of a prediction are taken for, where that can be doubted.
        input_note: what is wrong with an example for a model with such a spec, if anything.
        upload: how requests bring files; None where an example is a JSON string.
    Reports and exports:
        highlight: an example with what spoke for a class, given the network's attribution.
        as_shown: an example for people, as far as possible as it stands in the data.
        opened: an example as other libraries take it.
        library, pipeline: of a model card; empty where no library can load the network.
    """

    name: str
    noun: str
    files: FileKind
    read: Callable[[Recipe], Dataset]
    from_paths: Callable[[Sequence[str], str | None], Iterator[Input]]
    from_objects: Callable[[Iterable[object], str | None], Iterator[Input]]
    duplicates: Callable[[Examples], Duplicates]
    notes: Callable[[Examples], list[str]]
    network: Callable[[Model, Dataset, bool], tuple[Network, list[str]]]
    load: Callable[[Path, Spec], Network]
    baselines: tuple[str, ...]
    policies: tuple[str, ...]
    example: Callable[[], str | Image]
    chunk: int
    preprocessor_files: Callable[[Network], dict[str, bytes]]
    preprocessor: Callable[[Spec, Mapping[str, bytes]], Preprocessor]
    highlight: Callable[[Preprocessor, str, np.ndarray], Highlighted]
    as_shown: Callable[[Preprocessor, str], str | Image]
    opened: Callable[[Any, Any], Any]
    defaults: Defaults
    library: str = ""
    pipeline: str = ""
    tunable: bool = True
    describe_paths: Callable[[Sequence[str]], str] | None = None
    input_note: Callable[[object, Spec], str | None] | None = None
    upload: Upload | None = None


modalities: Registry[Modality] = Registry("modality", package="headstart.modalities")
