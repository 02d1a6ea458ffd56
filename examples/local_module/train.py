"""Fine-tune the last layers of a model, timing each step with a local module named `profiler`.

    python examples/local_module/train.py

The module has the name of one of sizeup's, and the script must get its own.
"""

import torch
from transformers import AutoModelForCausalLM

from profiler import Stopwatch

model = AutoModelForCausalLM.from_pretrained("EleutherAI/pythia-410m", dtype=torch.bfloat16).cuda()
for parameter in model.parameters():
    parameter.requires_grad_(False)
for layer in model.gpt_neox.layers[-4:]:
    layer.requires_grad_(True)
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9)
stopwatch = Stopwatch()
for step in range(50):
    ids = torch.randint(0, model.config.vocab_size, (4, 512), device="cuda")
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: loss {loss.item():.3f}, {stopwatch.lap():.3f} s")
