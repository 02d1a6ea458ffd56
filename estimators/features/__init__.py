"""Features of configurations: one definition for training and for prediction, each with its unit."""

from estimators.features.place import Place as Place
from estimators.features.row import CATEGORIES as CATEGORIES
from estimators.features.row import NUMBERS as NUMBERS
from estimators.features.row import FeatureRow as FeatureRow
from estimators.features.row import feature_row as feature_row
from estimators.features.source import FeatureSource as FeatureSource
from estimators.features.totals import StepTotals as StepTotals
