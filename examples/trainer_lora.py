"""Train a LoRA adapter with the Trainer of transformers.

    python examples/trainer_lora.py

It evaluates after every epoch, keeps one checkpoint, and saves the adapter at the end.
"""

from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

MODEL = "meta-llama/Llama-3.2-1B"

tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.pad_token = tokenizer.eos_token
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="bfloat16")
model = get_peft_model(model, LoraConfig(r=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
model.print_trainable_parameters()

texts = [f"The square of {n} is {n * n}, and its cube is {n**3}. " * (10 + n % 20) for n in range(800)]
examples = [tokenizer(text, truncation=True, max_length=512) for text in texts]
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        "trainer-lora",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=2e-4,
        bf16=True,
        logging_steps=10,
        eval_strategy="epoch",
        save_total_limit=1,
    ),
    train_dataset=examples[:750],
    eval_dataset=examples[750:],
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
)
trainer.train()
trainer.save_model()
