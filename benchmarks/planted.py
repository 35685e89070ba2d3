"""How much planted trouble `headstart check` finds: copies, re-encoded, mirrored and cropped
images, corrupt files, changed texts, wrong labels.

    python -m benchmarks.planted --data DIR [--seed 0]

DIR holds `hotdog/`, `hymenoptera/` and `sst2/`. For each kind of trouble: how much was planted, how
much of it was found (recall), and how much of what was found was planted or is there without
planting as well, and was looked at by eye (precision).
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from headstart.commands.check import check

COPIES, RESIZED, MIRRORED, CROPPED, CORRUPT, FLIPPED = 200, 100, 25, 25, 30, 40
CHANGED = 100  # texts of each kind
FIRST = 60  # suspects


class Found(NamedTuple):
    """What a check said: held-out example → how it is alike; doubted training examples, worst
    first; the notes."""

    alike: dict[str, str]
    doubted: list[str]
    notes: tuple[str, ...]


def look_over(recipe: Path, output: Path) -> Found:
    """Run the check on a recipe."""
    done = check(str(recipe), [f'output="{output}"'])
    with (done.folder / "alike.csv").open(encoding="utf-8", newline="") as file:
        alike = {
            row["example"]: row["how"] for row in csv.DictReader(file) if row["part"] == "test"
        }
    with (done.folder / "suspects.csv").open(encoding="utf-8", newline="") as file:
        doubted = [row["example"] for row in csv.DictReader(file)]
    return Found(alike, doubted, done.lines)


def plant_images(source: Path, target: Path, draw: random.Random) -> dict[str, set[str]]:
    """A copy of a folder of images with trouble in it: kind of trouble → names of the files that
    have it."""
    shutil.copytree(source, target)
    train = sorted(path for path in (target / "train").rglob("*.jpg"))
    chosen = draw.sample(train, COPIES + RESIZED + MIRRORED + CROPPED + FLIPPED)
    planted: dict[str, set[str]] = defaultdict(set)

    def put(kind: str, path: Path, number: int) -> Path:
        place = (
            target
            / "test"
            / path.parent.name
            / f"planted_{kind}_{number}{draw.choice(['.jpg', '.png', '.webp'])}"
        )
        planted[kind].add(f"{place.parent.name}/{place.name}")
        return place

    for number in range(COPIES):
        path = chosen.pop()
        place = target / "test" / path.parent.name / f"planted_copy_{number}.jpg"
        shutil.copy(path, place)
        planted["copy"].add(f"{place.parent.name}/{place.name}")
    for kind, count in (("resized", RESIZED), ("mirrored", MIRRORED), ("cropped", CROPPED)):
        for number in range(count):
            path = chosen.pop()
            with Image.open(path) as file:
                image = file.convert("RGB")
            if kind == "resized":
                share = draw.uniform(0.4, 1.4)
                image = image.resize(
                    (round(image.width * share), round(image.height * share)),
                    Image.Resampling.LANCZOS,
                )
            elif kind == "mirrored":
                image = ImageOps.mirror(image)
            else:
                left, top, right, bottom = (draw.uniform(0, 0.08) for _ in range(4))
                width, height = image.size
                image = image.crop(
                    (
                        int(left * width),
                        int(top * height),
                        int((1 - right) * width),
                        int((1 - bottom) * height),
                    )
                )
            image.save(put(kind, path, number), quality=draw.randint(60, 90))
    for path in draw.sample(sorted(set(train) - set(chosen)), CORRUPT):
        place = path.with_name(f"planted_corrupt_{len(planted['corrupt'])}.jpg")
        content = path.read_bytes()
        place.write_bytes(
            draw.choice([content[: len(content) // 2], content[:40], b"", b"<html>404</html>"])
        )
        planted["corrupt"].add(f"{place.parent.name}/{place.name}")
    for number, path in enumerate(chosen):
        others = [
            folder
            for folder in path.parent.parent.iterdir()
            if folder != path.parent and folder.name[0] != "."
        ]
        place = draw.choice(others) / f"planted_flipped_{number}.jpg"
        path.rename(place)
        planted["flipped"].add(f"{place.parent.name}/{place.name}")
    notebook = target / "train" / train[0].parent.name / ".ipynb_checkpoints"
    notebook.mkdir()
    shutil.copy(next(path for path in train if path.exists()), notebook)
    (target / "train" / train[0].parent.name / "notes.txt").write_text(
        "to do: more images", encoding="utf-8"
    )
    return planted


def plant_texts(source: Path, target: Path, draw: random.Random) -> dict[str, set[str]]:
    """A copy of train.tsv and dev.tsv with changed training texts among the test rows, and labels
    flipped."""
    target.mkdir()
    tables = {}
    for name in ("train", "dev"):
        with (source / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
            tables[name] = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    train, test = tables["train"], tables["dev"]
    vocabulary = sorted(
        {word for sentence, _ in train[1:] for word in sentence.split() if word.isalpha()}
    )
    long = [row for row in range(1, len(train)) if len(train[row][0].split()) >= 8]
    planted: dict[str, set[str]] = defaultdict(set)

    def punctuation(words: list[str]) -> str:
        kept = [word for word in words if any(sign.isalnum() for sign in word)]
        place = draw.randrange(1, len(kept))
        return " ".join([*kept[:place], "--", *kept[place:], "!"])

    def one_word(words: list[str]) -> str:
        place = draw.choice([place for place, word in enumerate(words) if word.isalpha()])
        return " ".join([*words[:place], draw.choice(vocabulary), *words[place + 1 :]])

    changes = {
        "copy": lambda words: " ".join(words),
        "case": lambda words: " ".join(words).upper(),
        "spaces": lambda words: "  ".join(words) + "   ",
        "punctuation": punctuation,
        "one word": one_word,
    }
    for kind, change in changes.items():
        for row in draw.sample(long, COPIES if kind == "copy" else CHANGED):
            sentence, label = train[row]
            test.append([change(sentence.split()) if kind != "copy" else sentence, label])
            planted[kind].add(f"dev.tsv:{len(test)}")
    for row in draw.sample(range(1, len(train)), FLIPPED):
        train[row][1] = str(1 - int(train[row][1]))
        planted["flipped"].add(f"train.tsv:{row + 1}")
    for name, rows in tables.items():
        lines = "".join("\t".join(row) + "\n" for row in rows)
        (target / f"{name}.tsv").write_text(lines, encoding="utf-8")
    return planted


def compare(before: Found, after: Found, planted: dict[str, set[str]]) -> None:
    """Print a line for each kind of trouble."""
    everything = set().union(*planted.values())
    flagged = {name for name in after.alike if name not in before.alike}
    wrong = Counter(after.alike[name] for name in flagged - everything)
    print(
        f"  without planting: {dict(Counter(before.alike.values()))}; flagged beside, and not "
        f"planted: {dict(wrong)}"
    )
    for kind, names in planted.items():
        if kind in ("flipped", "corrupt"):
            continue
        hits = Counter(after.alike[name] for name in names if name in after.alike)
        print(
            f"  {kind:12} planted {len(names):4}  recall {hits.total() / len(names):.3f}  "
            f"{dict(hits)}"
        )
    hits_in_all = len(flagged & everything)
    if flagged:
        print(
            f"  precision of all: {hits_in_all / max(len(flagged), 1):.3f} ({hits_in_all} of "
            f"{len(flagged)})"
        )
    flipped = planted.get("flipped", set())
    first, all_of_them = (
        len(flipped & set(after.doubted[:FIRST])),
        len(flipped & set(after.doubted)),
    )
    print(
        f"  flipped      planted {len(flipped):4}  {first} among the first {FIRST} suspects, "
        f"{all_of_them} among all {len(after.doubted)}"
    )


def flip_some(source: Path, target: Path, draw: random.Random) -> dict[str, set[str]]:
    """A copy of a folder of images, some of the training ones under another label."""
    shutil.copytree(source, target)
    planted: dict[str, set[str]] = defaultdict(set)
    for number, path in enumerate(draw.sample(sorted((target / "train").rglob("*.jpg")), FLIPPED)):
        other = draw.choice(
            [folder for folder in path.parent.parent.iterdir() if folder != path.parent]
        )
        place = other / f"planted_flipped_{number}.jpg"
        path.rename(place)
        planted["flipped"].add(f"{place.parent.name}/{place.name}")
    return planted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    vision, text = "packaged:efficientnet_lite0", "packaged:minilm_l6"
    sets: list[tuple[str, str, str, Callable[[Path, Path, random.Random], dict[str, set[str]]]]] = [
        ("hotdog", "image_classification", vision, plant_images),
        ("hymenoptera", "image_classification", vision, flip_some),
        ("sst2", "text_classification", text, plant_texts),
    ]
    for name, task, backbone, plant in sets:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / name
            planted = plant(args.data / name, place, draw)
            checks = []
            for number, source in enumerate((args.data / name, place)):
                data = f'source = "{source}"'
                if task == "text_classification":  # without the second labelled test
                    data = (
                        f'train = "{source}/train.tsv"\ntest = "{source}/dev.tsv"\nvalidation = 0.0'
                    )
                recipe = Path(folder) / f"{number}.toml"
                recipe.write_text(
                    f'task = "{task}"\n[data]\n{data}\n[model]\nbackbone = "{backbone}"\n',
                    encoding="utf-8",
                )
                checks.append(look_over(recipe, Path(folder) / f"run-{number}"))
            print(f"{name}, planted", flush=True)
            compare(checks[0], checks[1], planted)
            for line in checks[1].notes:
                print("    |", line[:200])
            print()


if __name__ == "__main__":
    main()
