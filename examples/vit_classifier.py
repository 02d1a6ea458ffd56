"""Fine-tune a vision transformer into a classifier of coloured noise.

    python examples/vit_classifier.py

Two workers make the images; the model computes in bf16 by autocast.
"""

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import AutoConfig, AutoModelForImageClassification

MODEL = "google/vit-base-patch16-224"
COLOURS = ["red", "green", "blue"]


class ColouredNoise(Dataset):
    """Images in which one channel is brighter than the others."""

    def __init__(self, count, size):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        label = index % len(COLOURS)
        image = torch.rand(3, self.size, self.size) * 0.5
        image[label] += 0.5
        return (image - 0.5) / 0.5, label


config = AutoConfig.from_pretrained(MODEL, num_labels=len(COLOURS))
model = AutoModelForImageClassification.from_pretrained(MODEL, config=config, ignore_mismatched_sizes=True)
model.cuda()
loader = DataLoader(ColouredNoise(2000, config.image_size), batch_size=32, shuffle=True, num_workers=2)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=len(loader))
for step, (images, labels) in enumerate(loader):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(pixel_values=images.cuda(), labels=labels.cuda()).loss
    loss.backward()
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    if step % 10 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
torch.save(model.state_dict(), "vit-classifier.pt")
