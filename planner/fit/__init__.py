"""Whether a fine-tune fits on a GPU, the most that does, and ways to make it fit. Nothing is printed."""

from planner.fit.answer import FitAnswer as FitAnswer
from planner.fit.answer import Suggestion as Suggestion
from planner.fit.command_line import command_line as command_line
from planner.fit.fitting import fit as fit
from planner.fit.fitting import fit_all as fit_all
