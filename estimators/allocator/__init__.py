"""PyTorch's CUDA caching allocator: what a sequence of allocations reserves, and whether it fits."""

from estimators.allocator.caching import CachingAllocator as CachingAllocator
from estimators.allocator.caching import OutOfMemory as OutOfMemory
from estimators.allocator.replay import EMPTY_CACHE as EMPTY_CACHE
from estimators.allocator.replay import Replay as Replay
from estimators.allocator.replay import replay as replay
