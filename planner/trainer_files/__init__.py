"""Configuration files of other trainers, read as trials and written back with changes.

axolotl, LLaMA-Factory, TRL's scripts and transformers' TrainingArguments. What each key means, and what a key
that is left out means, is a table per format; nothing of the trainers is imported.
"""

from planner.trainer_files.file import IgnoredKeys as IgnoredKeys
from planner.trainer_files.file import TrainerFile as TrainerFile
from planner.trainer_files.file import read_trainer_file as read_trainer_file
from planner.trainer_files.rules import NotUnderstood as NotUnderstood
from planner.trainer_files.writing import write_trainer_file as write_trainer_file
