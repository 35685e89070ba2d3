"""Image classification: a folder of images a class, a timm backbone, a new head."""

from __future__ import annotations

from headstart.data.images import fingerprint
from headstart.data.read import read_images
from headstart.data.sources import images_at
from headstart.models.vision import load_vision_network, vision_network
from headstart.tasks import Task, tasks
from headstart.train.augment import ImageEncoder
from headstart.train.draws import stack

tasks.register("image_classification")(
    Task(
        read=read_images,
        network=lambda recipe, classes, pretrained: vision_network(recipe.model, classes, pretrained),
        load=load_vision_network,
        encoder=lambda network, policy: ImageEncoder(network.spec["preprocessing"], policy),
        collate=stack,
        fingerprint=fingerprint,
        gather=images_at,
        baselines=("raw_pixels_forest",),
    )
)
