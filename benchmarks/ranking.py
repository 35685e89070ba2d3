"""Whether `headstart recommend` ranks backbones as fine-tuning does, on ants and bees.

    python -m benchmarks.ranking --data DIR [--output benchmark_runs]

The backbones: the packaged EfficientNet-Lite0, the same with its last one, three and five of seven
stages forgotten (drawn anew), and as the floor three networks without any training. Prints LogME,
the probe on frozen features and the accuracy after fine-tuning beside each other, and Kendall's tau
of either ranking with that of fine-tuning.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import timm
import tomli_w
import torch
from safetensors.torch import save_file
from scipy.stats import kendalltau

from benchmarks.suite import LITE0, Table
from headstart.commands.compare import compare
from headstart.commands.recommend import RANDOM, recommend
from headstart.models.lite0 import ARCHITECTURE, lite0_weights
from headstart.models.packaged import packaged

STAGES, FORGOTTEN = 7, (1, 3, 5)
FLOOR = {
    "random_lite0": ARCHITECTURE,
    "random_resnet18": "resnet18",
    "random_vit_tiny": "vit_tiny_patch16_224",
}
SEEDS = 2


def forgetful(stages: int, folder: Path) -> str:
    """The packaged network as a local folder, with its last stages and what follows them drawn
    anew."""
    torch.manual_seed(0)
    network = timm.create_model(ARCHITECTURE)
    kept = ("conv_stem.", "bn1.", *(f"blocks.{stage}." for stage in range(STAGES - stages)))
    weights = lite0_weights(packaged(LITE0.removeprefix("packaged:"), "vision").path())
    network.load_state_dict({k: v for k, v in weights.items() if k.startswith(kept)}, strict=False)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"architecture": ARCHITECTURE}), encoding="utf-8"
    )
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("benchmark_runs"))
    args = parser.parse_args()
    output = args.output.resolve() / "ranking"
    backbones = {"lite0": LITE0}
    backbones |= {
        f"lite0_forgot_{n}": forgetful(n, output / f"lite0_forgot_{n}") for n in FORGOTTEN
    }
    backbones |= {name: RANDOM + architecture for name, architecture in FLOOR.items()}
    shared: Table = {
        "task": "image_classification",
        "data": {"source": str((args.data / "hymenoptera").resolve())},
        "train": {"epochs": 8, "lr": 1e-4, "batch_size": 16},
        "output": str(output / "ranking"),
    }
    paths = {}
    for name, backbone in backbones.items():
        chance = backbone.startswith(RANDOM)
        recipe = {
            **shared,
            "model": {"backbone": backbone.removeprefix(RANDOM)},
            "transfer": {"strategy": "scratch" if chance else "fine_tune"},
        }
        paths[name] = output / f"{name}.toml"
        paths[name].write_text(tomli_w.dumps(recipe), encoding="utf-8")
    ranked = {
        row.name: row for row in recommend(paths["lite0"], list(backbones.values()))[0].ranked
    }
    tuned = {
        row.name: row.accuracy
        for row in compare(list(map(str, paths.values())), seeds=SEEDS)[0].rows
    }
    print(f"| backbone | LogME | probe | fine-tuned, {SEEDS} seeds |\n| --- | --- | --- | --- |")
    for name in sorted(tuned, key=lambda name: -tuned[name].value):
        row = ranked[backbones[name]]
        print(f"| {name} | {row.logme:.3f} | {row.probe} | {tuned[name]} |")
    truth = [tuned[name].value for name in backbones]
    for what, values in {
        "LogME": [ranked[backbone].logme for backbone in backbones.values()],
        "probe": [ranked[backbone].probe.value for backbone in backbones.values()],
    }.items():
        print(
            f"Kendall's tau of {what} with fine-tuning: {kendalltau(values, truth).statistic:.2f}"
        )


if __name__ == "__main__":
    main()
