"""Learning from a store, and predicting with what was learned. Nothing is printed."""

from planner.learn.learning import Learned as Learned
from planner.learn.learning import learn as learn
from planner.learn.predicting import ConfigurationPrediction as ConfigurationPrediction
from planner.learn.predicting import predict as predict
