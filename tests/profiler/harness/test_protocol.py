import pytest

from profiler.errors import UsageError
from profiler.harness.messages import TrialRequest
from profiler.harness.protocol import MeasurementProtocol
from tests.factories import trial_spec


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"warmup_steps": 3}, "warmup_min_steps"),
        ({"warmup_min_steps": 0}, "warmup_min_steps"),
        ({"warmup_min_steps": 2.5}, "warmup_min_steps"),
        ({"timed_min_steps": 2}, "timed_min_steps"),
        ({"timed_min_seconds": -1}, "timed_min_seconds"),
        ({"timed_max_seconds": 0}, "timed_max_seconds"),
        ({"timeout_seconds": float("inf")}, "timeout_seconds"),
        ({"phase_steps": 1}, "phase_steps"),
        ({"memory_limit_bytes": 0}, "memory_limit_bytes"),
        ({"memory_limit_bytes": "much"}, "memory_limit_bytes"),
        ({"count_flops": "perhaps"}, "count_flops"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(settings, says):
    with pytest.raises(UsageError, match=says) as caught:
        MeasurementProtocol.parse(settings, subject="my.yaml")
    assert str(caught.value).startswith("my.yaml")
    assert "\n" not in str(caught.value)


def test_defaults_are_left_out_of_the_row():
    assert MeasurementProtocol().model_dump(exclude_defaults=True) == {}
    protocol = MeasurementProtocol.parse({"timed_min_steps": 5})
    assert protocol.model_dump(exclude_defaults=True) == {"timed_min_steps": 5}


def test_a_request_survives_the_pipe():
    request = TrialRequest(
        spec=trial_spec(method_options={"target_modules": ["a\nb", "ü"]}, lengths={"8": 2}),
        device="cpu",
        protocol=MeasurementProtocol(memory_limit_bytes=7, timeout_seconds=1.5),
    )
    line = request.to_line()
    assert line.count("\n") == 1
    assert TrialRequest.from_line(line) == request
