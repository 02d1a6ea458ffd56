"""`TrialSpec`: everything that decides what one training step costs, whatever it runs on."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, field_validator

from profiler.errors import UsageError
from profiler.spec.cells import base_types, read_cell
from profiler.spec.frozen import canonical_json, freeze, thaw, whole_numbers
from profiler.spec.lengths import LARGEST_COUNT, parse_lengths
from profiler.spec.methods import PLAIN_METHODS
from profiler.spec.normalize import normalize
from profiler.spec.validation import usage_error

Task = Literal["causal-lm", "sequence-classification", "image-classification", "seq2seq-lm"]
Quantization = Literal["none", "int8", "nf4", "fp4"]
Precision = Literal["bf16", "fp16", "fp32", "amp-bf16", "amp-fp16"]
Optimizer = Literal[
    "adamw", "adamw-fused", "adamw-8bit", "paged-adamw", "paged-adamw-8bit", "adafactor", "lion", "lion-8bit",
    "sgd", "rmsprop", "lora-fa", "lora-plus",
]  # fmt: skip
Attention = Literal["auto", "eager", "sdpa", "sdpa-math", "sdpa-efficient", "sdpa-flash", "flash-attention-2"]

Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST_COUNT)]
CountOrZero = Annotated[int, Field(strict=True, ge=0, le=LARGEST_COUNT)]
Flag = Annotated[bool, Field(strict=True)]
Frozen = PlainSerializer(thaw)


class TrialSpec(BaseModel):
    """One trial, frozen and hashable; two spellings of the same step are equal and have the same `key`.

    Build it from user input with `TrialSpec.parse`, which resolves aliases, fills what depends on the model
    and raises a `UsageError` of one sentence. Read stored ones back with `TrialSpec.from_canonical`, which
    looks nothing up. The field names are the CLI's flags, the YAML's keys and the table's columns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field(
        description="Catalogue id or alias, hub id, or folder with a config.json.", min_length=1, strict=True
    )
    model_fingerprint: str | None = Field(
        default=None, description="Hash of the folder's config.json; filled in when the model is a folder."
    )
    task: Task = Field(default="causal-lm", description="What is trained; by default what the model is for.")
    method: str = Field(default="full", description="Training method: full, lora, prefix-tuning, head, ...")
    method_options: Annotated[Mapping[str, Any], Frozen] = Field(
        default_factory=lambda: freeze({}), description="Options of the PEFT configuration, such as r=32."
    )
    autocast_adapter_dtype: Flag = Field(
        default=True, description="Keep 16-bit adapters in fp32, as peft does unless told otherwise."
    )
    quantization: Quantization = Field(
        default="none", description="bitsandbytes quantisation of the frozen weights."
    )
    double_quant: Flag = Field(default=False, description="Quantise the scales of 4-bit weights too.")
    kbit_prepare: Flag = Field(default=True, description="Apply peft's prepare_model_for_kbit_training.")
    precision: Precision = Field(default="bf16", description="Pure precision, or fp32 weights with autocast.")
    optimizer: Optimizer = Field(default="adamw", description="Optimizer of the trainable parameters.")
    batch_size: Count = Field(default=1, description="Samples per device and micro-batch.")
    sequence_length: Count = Field(
        default=512, description="Tokens per sample, padding included; what packing fills."
    )
    lengths: Annotated[tuple[int, ...] | Mapping[str, int] | None, Frozen] = Field(
        default=None, description="Lengths per step (a list, cycled) or a histogram to draw samples from."
    )
    lengths_seed: CountOrZero = Field(default=0, description="Seed of the draws from a histogram of lengths.")
    packing: Flag = Field(default=False, description="Pack drawn samples into rows of sequence_length.")
    gradient_accumulation: Count = Field(default=1, description="Micro-batches per optimizer step.")
    gradient_checkpointing: Literal["none", "full"] = Field(
        default="none", description="Recompute the layers in backward."
    )
    reentrant: Flag = Field(default=False, description="Use the reentrant form of checkpointing.")
    attention: Attention = Field(
        default="auto", description="Attention implementation; auto is what transformers and torch pick."
    )
    padding_mask: Flag = Field(
        default=True, description="Batches hold padding, so an attention mask reaches the layers."
    )
    loss_kernel: Literal["standard", "liger"] = Field(default="standard", description="Kernel of the loss.")
    use_cache: Literal["auto"] | Flag = Field(
        default="auto",
        description="Whether training keeps a key/value cache; auto is the model's own choice.",
    )
    compile: Flag = Field(default=False, description="Run the model through torch.compile.")
    max_grad_norm: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = Field(
        default=1.0, description="Clip gradients to this norm; 0 does not clip."
    )
    loop: Literal["trainer", "raw", "function"] = Field(
        default="trainer",
        description="Lifetimes of HF Trainer, of a plain loop that keeps its outputs, or of a step function.",
    )
    empty_cache_every: CountOrZero = Field(
        default=0, description="Empty the allocator's cache after every N steps; 0 never does."
    )
    allocator: Literal["default", "expandable"] = Field(
        default="default", description="CUDA allocator: default segments or expandable ones."
    )
    parallel: Literal["none", "ddp", "fsdp2"] = Field(default="none", description="Data parallelism.")
    world_size: Count = Field(default=1, description="Number of devices; figures are per rank.")
    evaluation_batch_size: Count | None = Field(
        default=None, description="Also run an evaluation forward with this batch size."
    )
    save: Flag = Field(default=False, description="Also save the trained weights to a temporary folder.")

    @field_validator("method_options", mode="after")
    @classmethod
    def _freeze_options(cls, value: Mapping[str, Any]) -> Any:
        return freeze(whole_numbers(thaw(value)))

    @field_validator("max_grad_norm", mode="after")
    @classmethod
    def _without_sign_of_zero(cls, value: float) -> float:
        return value + 0.0  # -0.0 is equal to 0.0, but has another JSON text

    @field_validator("lengths", mode="before")
    @classmethod
    def _parse_lengths(cls, value: Any) -> Any:
        return parse_lengths(thaw(value))

    @field_validator("lengths", mode="after")
    @classmethod
    def _freeze_lengths(cls, value: Any) -> Any:
        return freeze(value)

    @classmethod
    def parse(cls, settings: Mapping[str, Any], *, subject: str | None = None) -> Self:
        """Validate and normalise what a person wrote.

        Args:
            settings: Field names to values, as in a YAML file; aliases and short names are welcome.
            subject: What the sentence about an error begins with, such as a file's name.

        Raises:
            UsageError: If a field, model, method or option is unknown (the nearest is named), a value is not
                allowed, or settings contradict each other.
        """
        try:
            spec = cls.model_validate(normalize(settings))
            # A second pass: dropping settings without effect needs values that are known to be valid.
            return cls.model_validate(spec._without_idle_settings())
        except ValidationError as error:
            raise usage_error(error, cls, subject=subject or "the trial") from None
        except (UsageError, ValueError) as error:
            raise UsageError(f"{subject}: {error}" if subject else str(error)) from None
        except RecursionError:
            raise UsageError(f"{subject or 'the trial'}: a value is nested too deeply") from None

    @classmethod
    def from_canonical(cls, settings: Mapping[str, Any] | str) -> Self:
        """Rebuild a spec from its `canonical` form or JSON text; nothing is looked up or normalised."""
        return cls.model_validate(json.loads(settings) if isinstance(settings, str) else settings)

    def _without_idle_settings(self) -> dict[str, Any]:
        """Return the fields, with those that cannot change this step back at their defaults."""
        values = self.canonical
        idle: set[str] = set()
        if self.method in PLAIN_METHODS:
            idle |= {"autocast_adapter_dtype"}
        if self.quantization not in ("nf4", "fp4"):
            idle |= {"double_quant"}
        if self.quantization == "none":
            idle |= {"kbit_prepare"}
        if self.gradient_checkpointing == "none":
            idle |= {"reentrant"}
        if not isinstance(self.lengths, Mapping):
            idle |= {"lengths_seed"}
            if self.packing:
                raise ValueError("packing needs lengths as a histogram, such as {128: 10, 512: 2}")
        elif not self.packing:
            idle |= {"sequence_length"}
        if isinstance(self.lengths, tuple):
            idle |= {"sequence_length"}
        if self.task == "image-classification":
            idle |= {"sequence_length", "padding_mask"}
            if self.lengths is not None:
                raise ValueError("lengths are those of texts, which task image-classification has none of")
        if self.parallel == "none" and self.world_size > 1:
            raise ValueError("world_size above 1 needs parallel: ddp or fsdp2")
        return {name: value for name, value in values.items() if name not in idle}

    @property
    def canonical(self) -> dict[str, Any]:
        """The model, its task and the fields that are not at their default, as plain JSON values of your own.

        Defaults are omitted, so a field added later changes no key. The task is always said: its default is
        the model's, so that leaving it out would say something else to `parse`.
        """
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name in ("model", "task") or value != _DEFAULTS[name]
        }

    @functools.cached_property
    def key(self) -> str:
        """Stable name of this spec: the first 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
        return hashlib.sha256(canonical_json(self.canonical).encode()).hexdigest()[:16]

    def with_changes(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed; another model brings its own task.

        Raises:
            UsageError: As `parse`.
        """
        settings = self.canonical
        if "model" in changes:
            del settings["task"]
        return type(self).parse({**settings, **changes})

    def to_row(self) -> dict[str, Any]:
        """Return every field as one cell of a table: mappings and lists as JSON text."""
        return {
            name: canonical_json(value) if isinstance(value, dict | list) else value
            for name, value in self.model_dump(mode="json").items()
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Rebuild a spec from a table row; columns that are not fields are ignored, empty cells are defaults.

        Raises:
            UsageError: If a cell is not a value of its field.
        """
        values: dict[str, Any] = {}
        for name, kinds in _KINDS.items():
            try:
                value = read_cell(row.get(name), kinds)
            except ValueError as error:
                raise UsageError(f"the row: {name}: {error}") from None
            if value is not None:
                values[name] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise usage_error(error, cls, subject="the row") from None

    @property
    def tokens_per_step(self) -> int | None:
        """Tokens of one optimizer step, padding included; None where lengths vary or images are trained."""
        if (self.lengths is not None and not self.packing) or self.task == "image-classification":
            return None
        return self.batch_size * self.sequence_length * self.gradient_accumulation

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialSpec) and self.key == other.key

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_canonical, (self.canonical,)  # read-only mappings cannot be pickled

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    def __str__(self) -> str:
        """Return a short line for progress and messages: the model and what is not at its default."""
        settings = {name: value for name, value in self.canonical.items() if name not in _NOT_IN_LABEL}
        model = self.model.rsplit("/", 1)[-1]
        return " ".join([model, *(f"{name}={_short(value)}" for name, value in settings.items())])


_NOT_IN_LABEL = {"model", "model_fingerprint", "task"}
_DEFAULTS: dict[str, Any] = {
    name: {} if name == "method_options" else field.default for name, field in TrialSpec.model_fields.items()
}
_KINDS = {name: base_types(field.annotation) for name, field in TrialSpec.model_fields.items()}


def _short(value: Any) -> str:
    return canonical_json(value) if isinstance(value, dict | list) else str(value).lower()
