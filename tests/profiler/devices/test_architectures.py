import pytest

from profiler.devices.architectures import newest_code_for, runs_on


@pytest.mark.parametrize(
    ("architectures", "capability", "expected"),
    [
        (["sm_75", "sm_86"], (7, 5), (7, 5)),
        (["sm_75", "sm_86"], (8, 9), (8, 6)),
        (["sm_80", "sm_86"], (8, 9), (8, 6)),
        (["sm_75", "sm_86"], (8, 0), None),
        (["sm_75", "sm_86"], (7, 0), None),
        (["sm_75", "sm_86"], (12, 0), None),
        (["sm_90", "compute_90"], (12, 0), (9, 0)),
        (["sm_90a"], (9, 0), None),
        ([], (9, 0), None),
    ],
)
def test_which_code_of_a_build_runs_on_a_gpu(architectures, capability, expected):
    assert newest_code_for(architectures, *capability) == expected
    assert runs_on(architectures, *capability) is (expected is not None)
