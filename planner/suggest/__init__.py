"""Which trial to run next, out of many, by what was measured already. Nothing is printed."""

from planner.suggest.candidates import Skipped as Skipped
from planner.suggest.goal import Goal as Goal
from planner.suggest.goal import Limit as Limit
from planner.suggest.goal import Objective as Objective
from planner.suggest.suggesting import Suggestions as Suggestions
from planner.suggest.suggesting import suggest as suggest
from planner.suggest.weighing import Suggestion as Suggestion
