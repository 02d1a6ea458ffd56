import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.allocator import EMPTY_CACHE
from estimators.ledger import Mark
from profiler.measurement import Phase
from tests.estimators.ledgers import assert_same, small_ledger, small_operators


@pytest.mark.parametrize(
    ("event", "phase", "step"),
    [
        (0, Phase.LOAD, 0),
        (1, Phase.LOAD, 0),
        (2, Phase.FORWARD, 0),
        (4, Phase.FORWARD, 1),
        (99, Phase.FORWARD, 1),
    ],
)
def test_an_event_belongs_to_the_mark_before_it(event, phase, step):
    ledger = small_ledger(
        marks=(
            Mark(event=0, phase=Phase.LOAD, step=0),
            Mark(event=2, phase=Phase.FORWARD, step=0),
            Mark(event=3, phase=Phase.FORWARD, step=1),
        )
    )
    assert (ledger.mark_of(event).phase, ledger.mark_of(event).step) == (phase, step)


def test_a_phase_without_events_has_none():
    ledger = small_ledger(
        marks=(
            Mark(event=0, phase=Phase.LOAD, step=0),
            Mark(event=1, phase=Phase.FORWARD, step=0),
            Mark(event=1, phase=Phase.BACKWARD, step=0),
        )
    )
    assert ledger.mark_of(1).phase is Phase.BACKWARD


@st.composite
def programs(draw):
    """Events in which tensors are born and die, and the cache is emptied; and who is alive after each."""
    events, alive, history = [], [], []
    for _ in range(draw(st.integers(0, 30))):
        action = draw(st.sampled_from(["birth", "death", "empty"]))
        if action == "death" and alive:
            events.append(~alive.pop(draw(st.integers(0, len(alive) - 1))))
        elif action == "empty":
            events.append(EMPTY_CACHE)
        else:
            number = sum(event >= 0 for event in events)
            alive.append(number)
            events.append(number)
        history.append(set(alive))
    return events, history


@given(programs())
def test_the_living_are_those_born_and_not_dead(program):
    events, history = program
    count = sum(event >= 0 for event in events)
    ledger = small_ledger(
        events=np.array(events, dtype=np.int32), sizes=np.ones(max(count, 1), dtype=np.int64)
    )
    for event, alive in enumerate(history):
        assert set(ledger.live_tensors(event).tolist()) == alive


def test_other_sizes_leave_everything_else_but_the_operators():
    ledger = small_ledger(operators=small_operators())
    changed = ledger.with_sizes([1, 2.0])
    assert_same(changed, small_ledger(sizes=np.array([1, 2], dtype=np.int64), operators=None))
    assert ledger.sizes.tolist() == [4096, 512]
    assert ledger.operators is not None
