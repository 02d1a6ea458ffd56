"""How a trial is measured: the settings of the harness, recorded in every row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profiler.spec.validation import usage_error

if TYPE_CHECKING:
    from collections.abc import Mapping

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MeasurementProtocol(BaseModel):
    """The protocol of one measurement. The defaults are meant for figures that are published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warmup_min_steps: Annotated[int, Field(strict=True, ge=1)] = Field(
        default=10, description="Warm-up steps; the first allocates the optimizer's states."
    )
    warmup_min_seconds: Seconds = Field(default=10.0, description="Warm-up time, unless times settle sooner.")
    warmup_max_seconds: Seconds = Field(
        default=120.0, description="When slow steps stop warming up, after two of them."
    )
    warmup_stable_cv: Seconds = Field(
        default=0.02, description="Coefficient of variation of the last ten steps that counts as settled."
    )
    timed_min_steps: Annotated[int, Field(strict=True, ge=3)] = Field(
        default=30, description="Timed steps, at least."
    )
    timed_min_seconds: Seconds = Field(default=5.0, description="Time that the timed steps take, at least.")
    timed_max_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=300.0, description="When slow steps stop being timed, after three of them."
    )
    phase_steps: Annotated[int, Field(strict=True, ge=2)] = Field(
        default=2, description="Steps of the separate pass that finds the peak of each phase."
    )
    count_flops: bool = Field(default=True, description="Count floating-point operations in one more step.")
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1800.0, description="When a trial is ended as a time-out."
    )
    memory_limit_bytes: Annotated[int, Field(strict=True, gt=0)] | None = Field(
        default=None,
        description="Host memory a CPU trial may take beyond its start; by default what is available.",
    )

    @classmethod
    def parse(cls, settings: Mapping[str, Any], *, subject: str = "the protocol") -> Self:
        """Validate settings that a person wrote.

        Raises:
            UsageError: If a setting is unknown (the nearest is named) or out of range.
        """
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            raise usage_error(error, cls, subject=subject) from None

    @property
    def recorded(self) -> dict[str, Any]:
        """Every setting, as a row keeps it: a default that changes later relabels no old row."""
        return self.model_dump(exclude_none=True)
