"""Random programs of allocations, and a slow allocator to compare with."""

import itertools
from dataclasses import dataclass, field

from hypothesis import strategies as st

from estimators.allocator import OutOfMemory

MIB = 1 << 20
PAGE = {True: 2 * MIB, False: 20 * MIB}

# Around every limit of the rules, and anything between.
SIZES = st.one_of(
    st.integers(1, 4096),
    st.integers(1, MIB),
    st.integers(MIB, 30 * MIB),
    st.sampled_from(
        [512, 513, MIB, MIB + 1, 10 * MIB - 512, 10 * MIB, 10 * MIB + 1, 18 * MIB, 19 * MIB, 20 * MIB]
    ),
)
OPERATIONS = st.one_of(
    st.tuples(st.just("malloc"), SIZES, st.integers(0, 1)),
    st.tuples(st.just("malloc"), SIZES, st.just(0)),
    st.tuples(st.just("free"), st.integers(0, 10**6)),
    st.tuples(st.just("free"), st.integers(0, 10**6)),
    st.tuples(st.just("empty_cache")),
)
PROGRAMS = st.lists(OPERATIONS, max_size=60)
CAPACITIES = st.sampled_from([None, 24 * MIB, 64 * MIB, 101 * MIB])


@dataclass
class Segment:
    address: int
    nbytes: int
    pool: tuple[int, bool]
    mapped: set[int] | None = None  # pages, by number within the segment; None if all of it always is


@dataclass
class Reference:
    """Knows only segments and allocated blocks, and works out what is free each time it is asked."""

    capacity: int | None
    expandable: bool
    segments: list[Segment] = field(default_factory=list)
    allocated: dict[int, int] = field(default_factory=dict)
    end: int = 0
    retries: int = 0

    @property
    def allocated_bytes(self):
        return sum(self.allocated.values())

    @property
    def reserved_bytes(self):
        return sum(
            segment.nbytes if segment.mapped is None else len(segment.mapped) * PAGE[segment.pool[1]]
            for segment in self.segments
        )

    def runs(self, segment):
        """(address, end, state) of the segment, without two free or two unmapped runs in succession."""
        end = segment.address + segment.nbytes
        cuts = {segment.address, end}
        for address, nbytes in self.allocated.items():
            if segment.address <= address < end:
                cuts |= {address, address + nbytes}
        if segment.mapped is not None:
            page = PAGE[segment.pool[1]]
            cuts |= {segment.address + n * page for m in segment.mapped for n in (m, m + 1)}
        cuts = sorted(cuts)
        runs = []
        holder = None
        for start, stop in itertools.pairwise(cuts):
            if start in self.allocated:
                holder = start + self.allocated[start]
                runs.append((start, holder, "allocated"))
            elif holder is None or start >= holder:
                unmapped = segment.mapped is not None and (
                    (start - segment.address) // PAGE[segment.pool[1]] not in segment.mapped
                )
                state = "unmapped" if unmapped else "free"
                if runs and runs[-1][2] == state:
                    runs[-1] = (runs[-1][0], stop, state)
                else:
                    runs.append((start, stop, state))
        return runs

    def malloc(self, nbytes, stream):
        size = max(512, (nbytes + 511) // 512 * 512)
        pool = (stream, size <= MIB)
        found = self.best_fit(pool, size)
        if found is None and not self.grow(pool, size):
            self.retries += 1
            self.empty_cache()
            if not self.grow(pool, size):
                return None
        address, free_bytes = found or self.grown
        rest = free_bytes - size
        keep = rest >= 512 if pool[1] or self.expandable else rest > MIB
        self.allocated[address] = size if keep else free_bytes
        return address

    def best_fit(self, pool, size):
        fits = []
        for segment in self.segments:
            if segment.pool == pool:
                runs = self.runs(segment)
                for (start, stop, state), after in zip(runs, [*runs[1:], None], strict=True):
                    if state == "free" and stop - start >= size:
                        grows = after[1] - after[0] if after and after[2] == "unmapped" else 0
                        fits.append((stop - start, start, stop - start + grows))
        fits.sort()
        best = None
        for fit in fits:
            if best is not None and fit[2] >= best[2]:
                break
            best = fit
            if not self.expandable:
                break
        return best and (best[1], best[0])

    def grow(self, pool, size):
        """Make room; where, and how much, is in `grown`."""
        if not self.expandable:
            nbytes = 2 * MIB if pool[1] else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
            if self.capacity is not None and self.reserved_bytes + nbytes > self.capacity:
                return False
            self.segments.append(Segment(self.end, nbytes, pool))
            self.grown = (self.end, nbytes)
            self.end += nbytes
            return True
        page = PAGE[pool[1]]
        segment, start = self.room(pool, size)
        while True:
            runs = [run for run in self.runs(segment) if run[1] > start]
            (first, stop, state), after = runs[0], runs[1] if len(runs) > 1 else None
            have = stop - first if state == "free" else 0
            if have >= size:
                self.grown = (first, have)
                return True
            hole = after if state == "free" else runs[0]
            pages = -(-min(size - have, hole[1] - hole[0]) // page)
            if self.capacity is not None and self.reserved_bytes + pages * page > self.capacity:
                return False
            begin = (hole[0] - segment.address) // page
            segment.mapped |= set(range(begin, begin + pages))

    def room(self, pool, size):
        for segment in self.segments:
            if segment.pool != pool:
                continue
            runs = self.runs(segment)
            for index, run in enumerate(runs):
                if run[2] != "unmapped":
                    continue
                first = index - 1 if index and runs[index - 1][2] == "free" else index
                room = 0
                for start, stop, state in runs[first:]:
                    if state == "allocated":
                        break
                    room += stop - start
                if room >= size:
                    return segment, runs[first][0]
        page = PAGE[pool[1]]
        wanted = 1 << 60 if self.capacity is None else self.capacity + self.capacity // 8
        address = -(-self.end // page) * page
        segment = Segment(address, -(-wanted // page) * page, pool, set())
        self.end = address + segment.nbytes
        self.segments.append(segment)
        return segment, address

    def free(self, address):
        del self.allocated[address]

    def empty_cache(self):
        for segment in list(self.segments):
            runs = self.runs(segment)
            if segment.mapped is None:
                if [state for _, _, state in runs] == ["free"]:
                    self.segments.remove(segment)
                continue
            page = PAGE[segment.pool[1]]
            had_pages = bool(segment.mapped)
            for start, stop, state in runs:
                if state == "free":
                    first, last = -(-(start - segment.address) // page), (stop - segment.address) // page
                    segment.mapped -= set(range(first, last))
            if had_pages and not segment.mapped:
                self.segments.remove(segment)


def run(allocator, program, after=lambda operation, block: None):
    """Run a program on a `CachingAllocator`; `after` gets each operation and its block, None if it failed."""
    live = []
    for operation in program:
        block = None
        if operation[0] == "malloc":
            try:
                block = allocator.malloc(*operation[1:])
                live.append(block)
            except OutOfMemory:
                pass
        elif operation[0] == "free":
            if not live:
                continue
            block = live.pop(operation[1] % len(live))
            allocator.free(block)
        else:
            allocator.empty_cache()
        after(operation, block)
    return live
