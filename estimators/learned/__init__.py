"""Learned predictors of memory and time: physics first, and what measurements add to it.

The way through it: `configurations` (repeats become one row), `FeatureSource` of `estimators.features` (what
is known of each before it runs), `training_table` (one figure), `LearnedPredictor` (an `Estimator`: fit,
predict, save, load), `validate` (what it is worth).
"""

from estimators.learned.configurations import Configuration as Configuration
from estimators.learned.configurations import configurations as configurations
from estimators.learned.configurations import training_table as training_table
from estimators.learned.prediction import Estimator as Estimator
from estimators.learned.prediction import Prediction as Prediction
from estimators.learned.prediction import Question as Question
from estimators.learned.prediction import Status as Status
from estimators.learned.predictor import LearnedPredictor as LearnedPredictor
from estimators.learned.table import TrainingTable as TrainingTable
from estimators.learned.targets import TARGETS as TARGETS
from estimators.learned.validation import validate as validate
