"""Fine-tune all weights of a small GPT-2 through torch.compile.

    python examples/compiled.py

The optimizer is the fused one.
"""

import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("distilbert/distilgpt2", dtype=torch.bfloat16).cuda()
compiled = torch.compile(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5, fused=True)
for step in range(100):
    ids = torch.randint(0, model.config.vocab_size, (8, 512), device="cuda")
    loss = compiled(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 10 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
