"""Pydantic's findings as sentences a person can act on; shared by every model that reads user input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


def shown(value: Any) -> str:
    """Return a value as a sentence can hold it: its `repr`, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def usage_error(error: ValidationError, model: type[BaseModel], *, subject: str) -> UsageError:
    """Turn what pydantic found into one sentence.

    Args:
        error: What `model.model_validate` raised.
        model: The model, for the names it knows.
        subject: What is wrong, such as `"the trial"` or a file's name.
    """
    findings = [_sentence(finding, model) for finding in error.errors(include_url=False)]
    return UsageError(f"{subject}: " + "; ".join(dict.fromkeys(findings)))


def _sentence(finding: Any, model: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in finding["loc"] if not _is_internal(part))
    given, context = shown(finding.get("input")), finding.get("ctx", {})
    match finding["type"]:
        case "extra_forbidden":
            close = nearest(path, model.model_fields)
            known = (
                f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(model.model_fields)}"
            )
            return f"unknown field {shown(path)}; {known}"
        case "missing":
            return f"{path} is missing"
        case "literal_error":
            allowed = context["expected"]
            return f"{path} must be {allowed}, not {given}{_did_you_mean(finding['input'], allowed)}"
        case "greater_than_equal":
            return f"{path} must be at least {context['ge']}, not {given}"
        case "greater_than":
            return f"{path} must be more than {context['gt']}, not {given}"
        case "less_than_equal":
            return f"{path} must be at most {context['le']}, not {given}"
        case "less_than":
            return f"{path} must be less than {context['lt']}, not {given}"
        case "int_type" | "int_from_float":
            return f"{path} must be a whole number, not {given}"
        case "bool_type":
            return f"{path} must be true or false, not {given}"
        case "float_type" | "finite_number":
            return f"{path} must be a number, not {given}"
        case "string_type":
            return f"{path} must be a text, not {given}"
        case "dict_type" | "mapping_type" | "model_type" | "model_attributes_type":
            return f"{path or 'it'} must be a mapping of settings, not {given}"
        case "list_type" | "tuple_type":
            return f"{path} must be a list, not {given}"
        case "value_error":
            sentence = str(context["error"])
            return sentence if not path or path.split(".")[0] in sentence else f"{path}: {sentence}"
    return f"{path}: {finding['msg']}" if path else str(finding["msg"])


def _did_you_mean(given: Any, expected: str) -> str:
    allowed = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
    close = nearest(str(given), allowed, count=1)
    return f"; did you mean {close[0]}?" if close else ""


def _is_internal(part: Any) -> bool:
    """Pydantic puts the branch of a union, such as `literal['auto']` or `bool`, into the path."""
    return isinstance(part, str) and (part in {"bool", "int", "str", "float"} or "[" in part)
