"""Fine-tune all weights of an 8B model, sharded over every GPU with FSDP2.

    torchrun --nproc-per-node 8 examples/fsdp2_full.py

Weights and optimizer states are fp32; what is gathered for the computation of a layer is bf16.
"""

import os

import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import AutoModelForCausalLM

MODEL = "meta-llama/Llama-3.1-8B"
SEQUENCE_LENGTH = 2048

device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
torch.cuda.set_device(device)
dist.init_process_group("nccl")

model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
model.gradient_checkpointing_enable()
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
for layer in model.model.layers:
    fully_shard(layer, mp_policy=policy)
fully_shard(model, mp_policy=policy)

optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
model.train()
for step in range(20):
    ids = torch.randint(0, model.config.vocab_size, (1, SEQUENCE_LENGTH), device=device)
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    if dist.get_rank() == 0:
        print(f"step {step}: loss {loss.item():.3f}")
dist.destroy_process_group()
