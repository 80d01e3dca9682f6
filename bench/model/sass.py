"""Instructions that each warp of a launch issues: sm_90a's code of a kernel, walked thread by thread.

No GPU is needed: integers, predicates and addresses are computed, so that every branch and trip is the real
one; floats are 1 where they come from memory. A warp issues an instruction as often as that one of its lanes
does that comes to it most often, with a predicate that is false too.
"""
import re
import struct
from collections import Counter
from functools import partial

MASK = 0xffffffff
PARAMS = 0x210  # of a launch, in constant bank 0 of sm_90


def signed(v):
    return v - (v >> 31 << 32)


def bits(f):
    try:
        return struct.unpack("<I", struct.pack("<f", f))[0]
    except OverflowError:
        return 0x7f800000 if f > 0 else 0xff800000


def number(v):
    return struct.unpack("<f", struct.pack("<I", v & MASK))[0]


class Thread:
    def __init__(self, launch, tid):
        self.r, self.u = [0] * 256, [0] * 64
        self.p = {f"{u}P{i}": False for u in ("", "U") for i in range(8)}
        self.p["PT"] = self.p["UPT"] = True
        self.launch, self.pc, self.tid = launch, 0, tid


# ---- operands: functions of a thread ---------------------------------------------------------------------

def register(name):
    """(file, index) of R5, UR5, RZ, URZ."""
    m = re.fullmatch(r"(U?)R(\d+|Z)(?:\.(?:64|reuse|H0_H0|H1_H1|U32))*", name)
    return m and ("u" if m[1] else "r", None if m[2] == "Z" else int(m[2]))


def constant(text):
    """c[0x0][0x210], c[0x0][R5+0x210]: (bank, address function)."""
    m = re.fullmatch(r"c\[(0x[0-9a-f]+)\]\[(.+)\]", text)
    return m and (int(m[1], 16), address(f"[{m[2]}]"))


def address(text):
    """[R4.64+0x10], [R4+UR5], [UR4], [0x10]; desc[UR6][R4.64]."""
    parts = []
    inner = re.search(r"\[([^\[\]]*)\]$", text)[1].replace("-0x", "+-0x")
    for part in inner.split("+"):
        reg = register(part)
        if reg:
            parts.append(pair(part) if ".64" in part else value(part))
        else:
            parts.append(lambda t, n=int(part, 16): n)
    return lambda t: sum(p(t) for p in parts)


def value(text, is_float=False, negate=None):
    """A word. negate: of what - does to it (IADD3's carries see ~x + 1)."""
    text = text.replace(".reuse", "")
    if text[0] == "-" and not re.match(r"-(\d|0x|INF)", text):
        inner = value(text[1:], is_float)
        if is_float:
            return lambda t: inner(t) ^ 1 << 31
        return (lambda t: negate(inner(t))) if negate else lambda t: -inner(t) & MASK
    if text[0] == "~":
        inner = value(text[1:])
        return lambda t: ~inner(t) & MASK
    if text[0] == "|":
        inner = value(text[1:-1], is_float)
        return lambda t: inner(t) & MASK >> 1
    reg = register(text)
    if reg:
        kind, i = reg
        if i is None:
            return lambda t: 0
        return (lambda t: t.u[i]) if kind == "u" else lambda t: t.r[i]
    const = constant(text)
    if const:
        bank, at = const
        return lambda t: t.launch.constant(bank, at(t), 4)
    word = int(text, 16) & MASK if "0x" in text else bits(float(text.replace("QNAN", "nan")))
    return lambda t: word


def pair(text):
    """Two registers as 64 bits."""
    reg = register(text.replace(".reuse", ""))
    if not reg:
        const = constant(text)
        if const:
            return lambda t: t.launch.constant(const[0], const[1](t), 8)
        n = int(text, 16)
        return lambda t: n & (1 << 64) - 1
    kind, i = reg
    if i is None:
        return lambda t: 0
    return (lambda t: t.u[i] | t.u[i + 1] << 32) if kind == "u" else lambda t: t.r[i] | t.r[i + 1] << 32


def predicate(text):
    wanted = not text.startswith("!")
    name = text.lstrip("!")
    return lambda t: t.p[name] == wanted


def is_predicate(text):
    return re.fullmatch(r"!?U?P(\d|T)", text) is not None


def put(text, words=1):
    kind, i = register(text)
    def store(t, v):
        if i is not None:
            file = t.u if kind == "u" else t.r
            for w in range(words):
                file[i + w] = v >> 32 * w & MASK
    return store


def put_predicate(text):
    def store(t, v):
        if text not in ("PT", "UPT"):
            t.p[text] = bool(v)
    return store


# ---- instructions: functions of a thread -----------------------------------------------------------------

def split_operands(dst, rest):
    """(predicates out, sources, predicates in) after a destination."""
    out = []
    while rest and is_predicate(rest[0]):
        out.append(rest.pop(0))
    inwards = []
    while rest and is_predicate(rest[-1]):
        inwards.insert(0, rest.pop())
    return put(dst), [put_predicate(p) for p in out], rest, [predicate(p) for p in inwards]


def add(op, a):
    to, out, src, carry = split_operands(a[0], a[1:])
    if ".X" not in op:
        carry = []
    get = [value(s, negate=lambda v: (~v & MASK) + 1) for s in src]
    def run(t):
        total = sum(g(t) for g in get) + sum(c(t) for c in carry)
        to(t, total)
        for p in out:
            p(t, total >> 32)
    return run


def multiply(op, a):
    wide, high = ".WIDE" in op, ".HI" in op
    to, out, src, carry = split_operands(a[0], a[1:])
    if wide:
        to = put(a[0], 2)
    x, y = value(src[0]), value(src[1])
    z = pair(src[2]) if (wide or high) else value(src[2], negate=lambda v: (~v & MASK) + 1)
    sign = signed if ".U32" not in op else lambda v: v
    if ".X" not in op:
        carry = []
    def run(t):
        total = sign(x(t)) * sign(y(t)) + z(t) + sum(c(t) for c in carry)
        to(t, total >> 32 if high else total)
        for p in out:
            p(t, total >> (64 if wide else 32))
    return run


def lea(op, a):
    to, out, src, carry = split_operands(a[0], a[1:])
    x, y, shift = value(src[0]), value(src[1], negate=lambda v: (~v & MASK) + 1), int(src[-1], 16)
    high = value(src[2]) if len(src) == 4 else None
    def run(t):
        v = x(t)
        if ".HI" in op:
            whole = signed(v) if ".SX32" in op else v | (high(t) if high else 0) << 32
            v = whole << shift >> 32 & MASK
        else:
            v = v << shift & MASK
        total = v + y(t) + sum(c(t) for c in carry)
        to(t, total)
        for p in out:
            p(t, total >> 32)
    return run


def shift(op, a):
    to, lo, by, hi = put(a[0]), value(a[1]), value(a[2]), value(a[3])
    def run(t):
        n = by(t)
        if ".L" in op:
            v = (hi(t) << 32 | lo(t)) << n >> 32 if ".HI" in op else lo(t) << n
        elif ".HI" in op:
            v = signed(hi(t)) >> n if ".S32" in op else hi(t) >> n
        else:
            v = (hi(t) << 32 | lo(t)) >> n
        to(t, v)
    return run


COMPARE = {"LT": lambda a, b: a < b, "LE": lambda a, b: a <= b, "GT": lambda a, b: a > b,
           "GE": lambda a, b: a >= b, "EQ": lambda a, b: a == b, "NE": lambda a, b: a != b}
COMBINE = {"AND": lambda a, b: a and b, "OR": lambda a, b: a or b, "XOR": lambda a, b: a != b}


def compare(op, a):
    parts = op.split(".")
    is_float = parts[0] == "FSETP"
    unordered = is_float and parts[1] in ("LTU", "LEU", "GTU", "GEU", "EQU", "NEU")
    test, join = COMPARE[parts[1][:2]], next(COMBINE[p] for p in parts if p in COMBINE)
    to, other, with_p = put_predicate(a[0]), put_predicate(a[1]), predicate(a[4])
    x, y = value(a[2], is_float), value(a[3], is_float)
    low = predicate(a[5]) if "EX" in parts else None
    read = number if is_float else (lambda v: v) if "U32" in parts else signed
    def run(t):
        p, q = read(x(t)), read(y(t))
        if low:
            holds = test(p, q) if p != q else low(t) # the words below decide
        else:
            holds = test(p, q) or (unordered and (p != p or q != q))
        c = with_p(t)
        to(t, join(holds, c))
        other(t, join(not holds, c))
    return run


def logic(op, a):
    p = put_predicate(a.pop(0)) if is_predicate(a[0]) else None
    to, get, table = put(a[0]), [value(s) for s in a[1:4]], int(a[4], 16)
    def run(t):
        x, y, z = (g(t) for g in get)
        v = 0
        for i in range(8):
            if table >> i & 1:
                v |= (x if i & 4 else ~x) & (y if i & 2 else ~y) & (z if i & 1 else ~z)
        to(t, v)
        if p:
            p(t, v & MASK)
    return run


def predicate_logic(op, a):
    to, get, tables = [put_predicate(p) for p in a[:2]], [predicate(p) for p in a[2:5]], a[5:7]
    def run(t):
        i = sum(g(t) << b for b, g in zip((2, 1, 0), get))
        for p, table in zip(to, tables):
            p(t, int(table, 16) >> i & 1)
    return run


def smaller(op, a):
    """VIMNMX a, b; VIADDMNMX a + b, c: the smaller, or with !PT the larger."""
    to, src, least = put(a[0]), [value(s) for s in a[1:-1]], predicate(a[-1])
    sign = (lambda v: v & MASK) if ".U32" in op else lambda v: signed(v & MASK)
    def run(t):
        v = [sign(g(t)) for g in src]
        if len(v) == 3:
            v = [sign(v[0] + v[1]), v[2]]
        to(t, min(v) if least(t) else max(v))
    return run


def arithmetic(op, a):
    """Floats; the last bits do not matter."""
    to, src = put(a[0]), [value(s, True) for s in a[1:] if not is_predicate(s)]
    name = op.split(".")[0]
    of = {"FADD": lambda x, y: x + y, "FMUL": lambda x, y: x * y, "FFMA": lambda x, y, z: x * y + z}[name]
    def run(t):
        v = of(*(number(g(t)) for g in src))
        to(t, bits(min(max(v, 0.0), 1.0) if ".SAT" in op else v))
    return run


def function(op, a):
    to, x = put(a[0]), value(a[1], True)
    of = {"RCP": lambda v: 1 / v if v else float("inf"), "RSQ": lambda v: v**-0.5 if v > 0 else float("inf"),
          "EX2": lambda v: 2.0**v if v < 128 else float("inf"), "SQRT": lambda v: v**0.5,
          "LG2": lambda v: 0.0, "TANH": lambda v: v}[op.split(".")[1]]
    return lambda t: to(t, bits(of(number(x(t)))))


def from_integer(op, a):
    to, x = put(a[0]), pair(a[1]) if "64" in op else value(a[1])
    return lambda t: to(t, bits(float(x(t))))


def to_integer(op, a):
    to, x = put(a[0]), value(a[1], True)
    return lambda t: to(t, min(int(max(number(x(t)), 0.0)), MASK))


def words_of(op):
    return 4 if ".128" in op else 2 if ".64" in op else 1


def load_constant(op, a):
    bank, at = constant(a[1])
    n = words_of(op)
    size = 1 if ".U8" in op else 4 * n
    to = put(a[0], n)
    return lambda t: to(t, t.launch.constant(bank, at(t), size))


def load_global(op, a):
    at, n = address(a[-1]), words_of(op)
    to = put(a[0], n)
    return lambda t: to(t, sum(t.launch.global_word(at(t)) << 32 * w for w in range(n)))


def load_shared(op, a):
    at, n = address(a[1]), words_of(op)
    to = put(a[0], n)
    def run(t):
        base = at(t)
        to(t, sum(t.launch.shared.get(base + 4 * w, bits(1.0)) << 32 * w for w in range(n)))
    return run


def store_shared(op, a):
    at, n, reg = address(a[0]), words_of(op), register(a[1].replace(".reuse", ""))
    def run(t):
        for w in range(n):
            t.launch.shared[at(t) + 4 * w] = 0 if reg[1] is None else t.r[reg[1] + w]
    return run


def special(op, a):
    to, name = put(a[0]), a[1]
    of = {"SR_TID.X": lambda t: t.tid, "SR_LANEID": lambda t: t.tid % 32}
    get = of.get(name, lambda t: 0)
    return lambda t: to(t, get(t))


def move(op, a, sources=1):
    to, x = put(a[0]), value(a[sources])
    return lambda t: to(t, x(t))


def select(op, a):
    to, x, y, p = put(a[0]), value(a[1]), value(a[2]), predicate(a[3])
    return lambda t: to(t, x(t) if p(t) else y(t))


def zero(op, a):
    to = put(a[0], 1 if ".32" in op else 2)
    return lambda t: to(t, 0)


def predicates_out(op, a):
    to, x, mask = put(a[0]), value(a[2]), int(a[3], 16)
    def run(t):
        v = sum(t.p[f"P{i}"] << i for i in range(7))
        to(t, v & mask | x(t) & ~mask)
    return run


def predicates_in(op, a):
    x, mask = value(a[1]), int(a[2], 16)
    def run(t):
        for i in range(7):
            if mask >> i & 1:
                t.p[f"P{i}"] = bool(x(t) >> i & 1)
    return run


def unary(of, op, a):
    to, x = put(a[0]), value(a[1])
    return lambda t: to(t, of(x(t)))


def check(op, a):
    p = put_predicate(a[0])
    return lambda t: p(t, False)


def vote(op, a):
    """Of a predicate that all lanes share: the compiler's way to make it uniform."""
    to, p = put_predicate(a[0]), predicate(a[-1])
    return lambda t: to(t, p(t))


def atomic(op, a):
    to = put(a[1])
    return lambda t: to(t, t.launch.arrived)


def shuffle(op, a):
    return move(op, a[1:])


def of_warp(op, a):
    """REDUX and its like: a lane's own value in place of the warp's."""
    to, x = put(a[0]), value(a[1])
    return lambda t: to(t, x(t))


def nothing(op, a):
    return lambda t: None


KINDS = {
    "IADD3": add, "VIADD": add, "UIADD3": add, "IMAD": multiply, "UIMAD": multiply, "LEA": lea, "ULEA": lea,
    "SHF": shift, "USHF": shift, "ISETP": compare, "UISETP": compare, "FSETP": compare, "LOP3": logic,
    "ULOP3": logic, "PLOP3": predicate_logic, "UPLOP3": predicate_logic, "VIMNMX": smaller,
    "VIADDMNMX": smaller, "FADD": arithmetic, "FMUL": arithmetic, "FFMA": arithmetic, "MUFU": function,
    "I2F": from_integer, "I2FP": from_integer, "F2I": to_integer, "LDC": load_constant,
    "ULDC": load_constant, "LDG": load_global, "LD": load_global, "LDS": load_shared, "STS": store_shared,
    "S2R": special, "S2UR": special, "MOV": move, "UMOV": move, "R2UR": move, "SEL": select, "USEL": select,
    "FSEL": select, "CS2R": zero, "P2R": predicates_out, "R2P": predicates_in,
    "IABS": partial(unary, lambda v: abs(signed(v))), "POPC": partial(unary, lambda v: bin(v).count("1")),
    "FCHK": check, "VOTEU": vote, "ATOMG": atomic, "SHFL": shuffle, "REDUX": of_warp, "PRMT": move,
    **dict.fromkeys("HMMA F2FP LDGSTS LDGDEPBAR DEPBAR STG ACQBULK PREEXIT BSSY BSYNC BREAK WARPSYNC NOP "
                    "YIELD MEMBAR ERRBAR CCTL CGAERRBAR LDSM VOTE BMOV".split(), nothing),
}


class Code:
    """A kernel of nvdisasm: at[pc] = (guard, kind, what); tables: constant bank 2."""

    def __init__(self, text, tables=b""):
        self.at, self.text, self.tables, labels, jumps = {}, {}, tables, {}, []
        pending, guard = [], re.compile(r"@(!?U?P\w+)\s+")
        for row in text:
            label = re.match(r"(\.L\w+|\$__internal\S+):", row)
            if label:
                pending.append(label[1])
            m = re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", row)
            if not m:
                continue
            pc, body = int(m[1], 16), re.sub(r"&\w+=\S+\s*", "", m[2]).strip()
            for name in pending:
                labels[name] = pc
            pending = []
            g = guard.match(body)
            body = body[g.end():] if g else body
            self.text[pc] = body
            op, _, rest = body.partition(" ")
            operands = [x.strip() for x in rest.split(",")] if rest else []
            jumps.append((pc, predicate(g[1]) if g else None, op, operands, rest))
        for pc, g, op, operands, rest in jumps:
            self.at[pc] = (g, *self.decode(op, operands, rest, labels))

    def decode(self, op, operands, rest, labels):
        name = op.split(".")[0]
        target = re.search(r"`\(([^)]*)\)", rest)
        if op.startswith("BRA.DIV"):  # for warps that have diverged
            return "run", nothing(op, operands)
        if name in ("BRA", "CALL"):
            extra = [predicate(p) for p in operands if is_predicate(p)]
            return "jump", (extra, labels[target[1]])
        if name in ("BRX", "RET"):
            return "to", value(operands[0].split()[0])  # a table's words are places in the kernel
        if name in ("EXIT", "BAR"):
            return name.lower(), None
        if name not in KINDS:
            return "unknown", op
        return "run", KINDS[name](op, list(operands))


class Launch:
    """The first block of a launch. params: the kernel's arguments; arrived: what an atomic counter held;
    words: spans of addresses where integers lie."""

    def __init__(self, code, params, threads, grid, arrived=0, words=()):
        self.code, self.params, self.threads, self.grid = code, params, threads, grid
        self.arrived, self.words, self.shared = arrived, words, {}

    def constant(self, bank, at, size):
        if bank == 0 and at < PARAMS:
            return self.grid[(at - 0xc) // 4] if 0xc <= at < 0x18 else 0
        of = self.params[at - PARAMS:] if bank == 0 else self.code.tables[at:]
        return int.from_bytes(of[:size], "little")

    def global_word(self, at):
        """1 of integers, 1.0 of floats."""
        return 1 if any(first <= at < last for first, last in self.words) else bits(1.0)

    def step(self, t, counts):
        """Runs a thread to its next barrier (True) or its end (False)."""
        at = self.code.at
        while True:
            pc = t.pc
            counts[pc] += 1
            guard, kind, what = at[pc]
            t.pc = pc + 16
            if guard and not guard(t):
                continue
            if kind == "run":
                what(t)
            elif kind == "jump":
                if all(p(t) for p in what[0]):
                    t.pc = what[1]
            elif kind == "to":
                t.pc = what(t)
            elif kind == "unknown":
                raise ValueError(f"sass.py: no rule for {what}")
            else:
                return kind == "bar"

    def run(self):
        """[{pc: times}] of every warp."""
        threads = [Thread(self, i) for i in range(self.threads)]
        counts = [Counter() for _ in threads]
        left = threads
        while left:
            left = [t for t in left if self.step(t, counts[t.tid])]
        warps = []
        for w in range(0, self.threads, 32):
            most = Counter()
            for c in counts[w:w + 32]:
                most |= c
            warps.append(most)
        return warps
