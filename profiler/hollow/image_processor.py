"""The file from which transformers makes a vision model's image processor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# Class, mean and deviation of the pixels, as preprocessor_config.json on the hub has them, by model type:
# those of ImageNet where the model was trained with them.
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_PROCESSORS = {
    "dinov2": ("BitImageProcessor", *_IMAGENET),
    "swin": ("ViTImageProcessor", *_IMAGENET),
}
_OTHERS = ("ViTImageProcessor", [0.5] * 3, [0.5] * 3)


def write_image_processor(config: Any, folder: Path) -> None:
    """Write `preprocessor_config.json`: images become the size that the model was made for."""
    name, mean, deviation = _PROCESSORS.get(config.model_type, _OTHERS)
    size = config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    settings = {
        "image_processor_type": name,
        "do_resize": True,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": deviation,
    }
    if name == "BitImageProcessor":
        settings |= {"do_center_crop": False, "do_convert_rgb": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
