"""Fine-tune all weights of a small language model in a plain PyTorch loop.

    python examples/plain_loop.py

Texts are padded to the longest of their batch, so that steps differ in size.
"""

import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "HuggingFaceTB/SmolLM2-360M"
TEXTS = [f"What is {n} times {n + 1}? It is {n * (n + 1)}.\n" * (8 + n % 10) for n in range(400)]

tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.pad_token = tokenizer.eos_token
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16).cuda()


def collate(texts):
    """Pad a batch to its longest text."""
    batch = tokenizer(texts, truncation=True, max_length=512, padding=True, return_tensors="pt")
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return batch


loader = DataLoader(TEXTS, batch_size=8, shuffle=True, collate_fn=collate)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
model.train()
for step, batch in enumerate(loader):
    loss = model(**batch.to("cuda")).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    if step % 10 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
model.save_pretrained("plain-loop")
