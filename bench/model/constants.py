"""What a device costs: assumed with sources, or read from a latency.csv of weir-kernel-bench."""
import csv
from dataclasses import dataclass, replace


@dataclass
class Gpu:
    name: str
    bandwidth: float       # bytes/us that a copy reaches: 3.0 and 4.35 TB/s (shared notes on H100, H200)
    l2: float = 5.5e6      # bytes/us of hits: published microbenchmarks of H100, about twice HBM
    trip: float = 0.2      # us from load to use: an L2 hit takes some 270 cycles
    far: float = 0.5       # us, from HBM
    gap: float = 0.42  # us between dependent kernels of a graph: median of a good one, programmatic launch
    team_gap: float = 1.0  # us before a cooperative kernel, which starts when all before it has ended
    barrier: float = 0.0   # us of a team's barrier; 0: two trips, an atomic there and back
    clock: float = 1.75e3  # cycles/us: data sheet, boost under load
    ipc: float = 1.0       # instructions of a scheduler in a cycle: one is what it can issue
    measured: bool = False

    @property
    def lanes(self):  # f32 instructions per us of 132 multiprocessors
        return 132 * 128 * self.clock

    @property
    def meet(self):
        return self.barrier or 2 * self.trip


# Every latency has a range: a quiet machine, and one where loads queue, launches are as slow as in an
# ordinary graph, and a scheduler with two warps waits every third cycle.
GPUS = [Gpu("H100", 3.0e6), Gpu("H200", 4.35e6)]


def slow(g):
    """The other end of the range; what was measured has none."""
    return g if g.measured else replace(g, trip=0.4, far=0.8, gap=0.8, team_gap=1.5, ipc=0.65)


# Field: op and shape of a row, and what its us, or its GB/s, make of it.
ROWS = {
    "bandwidth": ("copy", "read and written, the denominator", "gbps", lambda rate: 1e3 * rate),
    "l2": ("read", "16 MiB in L2, all blocks", "gbps", lambda rate: 1e3 * rate),
    "trip": ("trip", "L2", "us_p50", float),
    "far": ("trip", "memory", "us_p50", float),
    "gap": ("launch", "programmatic, WHILE graph, all blocks", "us_p50", float),
    "team_gap": ("launch", "cooperative, WHILE graph, all blocks", "us_p50", float),
    "barrier": ("team barrier", "all blocks", "us_p50", float),
    # An f32 multiply-add may use the one before it after 4 cycles (compute capability 9.0).
    "clock": ("multiply-add", "a chain of one warp", "us_p50", lambda us: 4 / us),
}
COLUMNS = ("us_p50", "us_p99", "bytes", "gbps", "percent_of_copy", "error", "result")


def read_rows(path):
    """{(op, shape): {column: text}} of the right rows; a shape may have commas."""
    with open(path, encoding="utf-8", newline="") as f:
        lines = list(csv.reader(f))
    if not lines or lines[0] != ["op", "shape", *COLUMNS]:
        raise ValueError(f"{path}: expected the header of weir-kernel-bench --csv")
    rows = {}
    for line in lines[1:]:
        values = dict(zip(COLUMNS, line[-len(COLUMNS):]))
        if values.get("result") == "ok":
            rows.setdefault((line[0], ",".join(line[1:-len(COLUMNS)])), values)
    return rows


def measured(path, assumed, name):
    """`assumed` with what the file has in place of its constants, and the names of those that it lacks."""
    rows, found, missing = read_rows(path), {}, []
    for field, (op, shape, column, convert) in ROWS.items():
        row = rows.get((op, shape))
        if row and float(row[column]) > 0:
            found[field] = convert(float(row[column]))
        else:
            missing.append(field)
    return replace(assumed, name=name, measured=True, **found), missing
