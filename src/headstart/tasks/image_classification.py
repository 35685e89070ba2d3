"""Image classification: a folder of images a class, a timm backbone, a new head."""

from __future__ import annotations

from headstart.checks.counts import image_notes
from headstart.checks.duplicate_images import like_images
from headstart.data.inputs import images_at
from headstart.data.readers import read_images
from headstart.models.vision import load_vision_network, vision_network
from headstart.tasks import Task, tasks

IMAGES = Task(
    read=read_images,
    network=lambda model, dataset, pretrained: vision_network(
        model, len(dataset.labels), pretrained, dataset.grey_range
    ),
    load=load_vision_network,
    gather=images_at,
    like=like_images,
    notes=image_notes,
    baselines=("raw_pixels_forest",),
    policies=("crop_flip", "crop", "none", "classic", "rand_augment", "trivial_augment"),
)
tasks.register("image_classification")({"vision": lambda: IMAGES})
