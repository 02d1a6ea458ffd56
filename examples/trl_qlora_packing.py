"""Train an adapter on a 4-bit model with the SFTTrainer of TRL, examples packed into full rows.

    python examples/trl_qlora_packing.py

It needs trl and bitsandbytes: pip install "sizeup[examples]".
"""

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def conversation(number):
    """Return one example; the longer the number, the longer the answer."""
    steps = " ".join(f"Adding {number} gives {number * times}." for times in range(2, 3 + number % 40))
    return {
        "messages": [
            {"role": "user", "content": f"Count upwards in steps of {number}."},
            {"role": "assistant", "content": steps},
        ]
    }


model = AutoModelForCausalLM.from_pretrained(
    MODEL,
    quantization_config=BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    ),
    device_map="auto",
)
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(
        "trl-qlora",
        max_length=2048,
        packing=True,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=4,
        gradient_checkpointing=True,
        bf16=True,
        optim="paged_adamw_8bit",
        learning_rate=1e-4,
        logging_steps=5,
        report_to="none",
    ),
    train_dataset=Dataset.from_list([conversation(number) for number in range(1, 1000)]),
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
)
trainer.train()
trainer.save_model()
