"""ONNX files: a network with its preprocessing, labels and tokenizer in one file, written and put
to work."""

from __future__ import annotations

import base64
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.errors import HeadstartError, first_line, needs_extra
from headstart.inference.exportable import (
    OUTPUT,
    Probabilities,
    exportable,
    inputs_of,
    varying,
)
from headstart.inference.loaded_model import NetworkModel, check_labels
from headstart.models.spec import ImageSpec, TextSpec, parse_spec
from headstart.tasks import task_of

SPEC, TOKENIZER = "headstart", "headstart_tokenizer"  # in the file's metadata


class OnnxModel:
    """The model in an ONNX file that `write_onnx` wrote, run by onnxruntime on the processor."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            HeadstartError: onnxruntime is missing, or the file is, or it is damaged or from
                elsewhere.
        """
        with needs_extra("export", f"{path}: an ONNX file"):
            import onnxruntime as ort
        self.source = str(path)
        try:
            options = ort.SessionOptions()
            options.log_severity_level = 3
            # others have use for the cores
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._session = ort.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            held = self._session.get_modelmeta().custom_metadata_map
            if SPEC not in held:
                raise ValueError(
                    "no preprocessing and labels in it; expected a file that headstart export wrote"
                )
            self.spec = parse_spec(held[SPEC], str(path))
            check_labels(self.spec)
            self.task = task_of(self.spec.task, self.spec.kind)
            self.preprocessor = self._encoder(held)
            self._names = [given.name for given in self._session.get_inputs()]
            self._try_out()
        except FileNotFoundError:
            raise HeadstartError(f"{path}: no such file; expected an exported model") from None
        except Exception as error:  # onnxruntime's are as manifold as damaged files
            raise HeadstartError(f"{path}: no exported model ({first_line(error)})") from None

    def _try_out(self) -> None:
        """
        Raises:
            Exception: the network does not fit the preprocessing or the labels.
        """
        example: Any = Image.new("RGB", (32, 32)) if isinstance(self.spec, ImageSpec) else "a"
        found = self.probabilities([self.preprocessor(example)] * 2)
        if found.shape != (2, self.spec.classes):
            raise ValueError(f"{found.shape[-1]} probabilities for {self.spec.classes} labels")

    def _encoder(self, held: dict[str, str]) -> Any:
        if isinstance(self.spec, ImageSpec):
            from headstart.models.image_preprocessor import ImagePreprocessor

            return ImagePreprocessor(self.spec.preprocessing)
        assert isinstance(self.spec, TextSpec)
        from headstart.models.text_preprocessor import TextPreprocessor, stated_keep
        from headstart.models.text_source import read_tokenizer

        with tempfile.TemporaryDirectory() as folder:
            for name, content in json.loads(held[TOKENIZER]).items():
                (Path(folder) / Path(name).name).write_bytes(base64.b64decode(content))
            tokenizer = read_tokenizer(Path(folder))
        own = self.spec.preprocessing
        return TextPreprocessor(tokenizer, own.max_length, own.keep or stated_keep(tokenizer))

    def probabilities(self, samples: Sequence[dict[str, Any]]) -> np.ndarray:
        batch = self.preprocessor.collate(list(samples))
        (found,) = self._session.run([OUTPUT], {name: batch[name].numpy() for name in self._names})
        if not np.isfinite(found).all():
            raise HeadstartError(f"{self.source}: its probabilities are no numbers")
        return found


def write_onnx(member: NetworkModel, items: Sequence[Any], path: Path) -> None:
    """Write the network of a run to an ONNX file: in float32, for batches and texts of any size.

    Args:
        items: two examples to trace it with.

    Raises:
        HeadstartError: packages are missing, or the network has parts that cannot be exported.
    """
    import torch

    with needs_extra("export", "ONNX files"):
        import onnx
        import onnxscript  # noqa: F401  (torch writes the file with it)
    inputs = inputs_of(member, items)
    model = Probabilities(exportable(member), list(inputs)).eval()
    with quiet():
        try:
            program = torch.onnx.export(
                model,
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_shapes=varying(inputs),
                verbose=False,
            )
            assert program is not None
            made = program.model_proto
        except Exception as error:
            raise HeadstartError(
                f"{member.source}: torch cannot export {member.spec.backbone} to ONNX: "
                f"{first_line(error)}. Try --to torch_export, or serve the run itself"
            ) from None
    held = {SPEC: member.network.spec.model_dump_json()}
    if isinstance(member.spec, TextSpec):
        from headstart.models.text_preprocessor import save_tokenizer

        with tempfile.TemporaryDirectory() as folder:
            save_tokenizer(member.network.tokenizer, Path(folder))
            files = {
                file.name: base64.b64encode(file.read_bytes()).decode()
                for file in sorted(Path(folder).iterdir())
            }
        held[TOKENIZER] = json.dumps(files)
    onnx.helper.set_model_props(made, held)
    onnx.save(made, path)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what exporters print, warn and log to themselves."""
    before = logging.root.manager.disable
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
