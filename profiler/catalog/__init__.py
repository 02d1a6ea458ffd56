"""Facts that ship with the package: the models and GPUs that can be named without a network."""

from profiler.catalog.gpus import GpuFacts as GpuFacts
from profiler.catalog.gpus import find_gpu as find_gpu
from profiler.catalog.gpus import gpus as gpus
from profiler.catalog.models import ModelFacts as ModelFacts
from profiler.catalog.models import find_model as find_model
from profiler.catalog.models import models as models
