"""Bugs in the block loop and in the queue."""
from entry import bug

LOOP = [
    bug("loop/rows.cu", "off by one", "a seat past the last", "if (i < l.n_seat) make_draft_rows(a, l, i);",
        "if (i <= l.n_seat) make_draft_rows(a, l, i);"),
    bug("loop/rows.cu", "dead row", "a seat's dead rows have a law", "a.law_of[at] = r.slot < 0 ? -1 : i;", "a.law_of[at] = i;"),
    bug("loop/rows.cu", "dead row", "a seat that takes no step has a law", "a.law_of[i] = steps ? i : -1;", "a.law_of[i] = i;"),
    bug("loop/sample.cu", "barrier", "a draw from statistics that are not there yet",
        "comes before the barriers above */\n        __syncthreads();\n", "comes before the barriers above */\n"),
    bug("loop/sample.cu", "index", "a draft at the position of the first", "&stats, s->n + step, WEIR_PURPOSE_DRAFT", "&stats, s->n, WEIR_PURPOSE_DRAFT"),
    bug("loop/sample.cu", "index", "block verification draws without its row", "s->law.block_verify ? step : 0, &logp", "0, &logp"),
    bug("loop/sample.cu", "dead row", "an unusable row's draft is -1", "draft[step] = token < 0 ? 0 : token;", "draft[step] = token;"),
    bug("loop/sample.cu", "index", "every seat has the first seat's minmaxes", "minmax ? minmax + i * n_minmax : nullptr", "minmax ? minmax + 0 * n_minmax : nullptr"),
    bug("loop/lookup.cu", "barrier", "a scan ends before all have found", "m;\n    __syncthreads();\n    m = env->best[0];",
        "m;\n    m = env->best[0];"),
    bug("loop/lookup.cu", "barrier", "a draft is scanned for before it is there", "= token;\n    __syncthreads();\n", "= token;\n"),
    bug("loop/lookup.cu", "race", "a seat is written before all have read it", "    __syncthreads(); /* all have read the seat */\n", ""),
    bug("loop/lookup.cu", "reduction", "half a warp's matches count", "for (int d = 16; d > 0; d /= 2) {", "for (int d = 8; d > 0; d /= 2) {"),
    bug("loop/lookup.cu", "reduction", "the last warp's match is left out", "k < LOOKUP_WARPS; k++", "k < LOOKUP_WARPS - 1; k++"),
    bug("loop/close.cu", "race", "a late block reads what the first one writes",
        "rank == 0 ? sizeof h->seat : static_cast<size_t>(SEAT_FIXED));", "sizeof h->seat);"),
    bug("loop/close.cu", "dead row", "a late block takes every seat for a live one", "l.accept[i].law ? WEIR_SEAT_RUNNING : WEIR_SEAT_EMPTY",
        "WEIR_SEAT_RUNNING"),
    bug("loop/close.cu", "barrier", "the block is made of a seat that is not there yet",
        "gamma * sizeof *h->draft);\n    }\n    __syncthreads();\n", "gamma * sizeof *h->draft);\n    }\n"),
    bug("loop/close.cu", "barrier", "the plan is read before it is made", "[k] = 0;\n    __syncthreads();\n", "[k] = 0;\n"),
    bug("loop/close.cu", "barrier", "the record is committed before it is whole",
        "    __syncthreads();\n    if (threadIdx.x == 0) weir__seat_commit", "    if (threadIdx.x == 0) weir__seat_commit"),
    bug("loop/close.cu", "off by one", "the block ends a seat early", "& 0xffffu) + 1 < l.n_seat) return;", "& 0xffffu) + 2 < l.n_seat) return;"),
    bug("loop/close.cu", "host", "the host's word is not looked at", "(asks.stop | asks.broken) != 0", "asks.broken != 0"),
    bug("loop/close.cu", "wait", "an outcome is counted before it is written", "    __syncthreads(); /* all parts of the outcome are written */\n", "",
        invisible="the runner's host code looks at outcomes after the launch, which has ended by then"),
    bug("loop/close.cu", "wait", "arrivals are not put back", "    *l.arrived = 0;\n", ""),
    bug("loop/close.cu", "index", "the ring has one entry", "block % l.depth) * l.n_seat + i], &h->outcome", "block % 1) * l.n_seat + i], &h->outcome"),
    bug("loop/close.cu", "race", "a seat's records by every block of its team", "    if (t.rank == 0) commit_seat(l, i, block, h);", "    commit_seat(l, i, block, h);"),
    bug("loop/close.cu", "math", "a rejected row's verdict is lost", "    if (d.status == WEIR_OK && d.rejected) h->accept.verdict = h->note[d.n_accept].verdict;\n", "",
        equivalent="without it the closing token's passes are made again, with the same result"),
    bug("loop/close.cu", "dead row", "an empty seat leaves an old record", "            r->live = 0;\n", ""),
    bug("loop/close.cu", "host", "the loop's condition is never set", "    if (conditional) ptx::set_conditional(conditional, goes_on);\n", "    if (conditional) (void)goes_on;\n"),
]

QUEUE = [
    bug("cuda/stream.cu", "index", "uploads overwrite what is staged", "s->part * WEIR_STAGE_BYTES + s->used;", "s->part * WEIR_STAGE_BYTES;"),
    bug("cuda/stream.cu", "wait", "a part is staged over while it is copied",
        "    WEIR_CUDA_TRY(&cu->base, cudaEventSynchronize(s->done[s->part]), \"upload\");\n", ""),
    bug("cuda/stream.cu", "host", "scratch moves away from a graph", "    if (cu->n_graph > 0) return WEIR_EINVAL;\n", ""),
    bug("cuda/stream.cu", "wait", "a download does not wait", "    return weir__cuda_drain(cu, \"download\");", "    return WEIR_OK;"),
    bug("cuda/stream.cu", "host", "a busy queue is kept as a failure", "        cudaGetLastError(); /* not an error, but kept like one */\n", "", nth=1),
    bug("cuda/graph.cu", "host", "what follows a loop's recording sets its condition", "cu->conditional = cu->branch = 0;", "cu->branch = 0;"),
    bug("cuda/graph.cu", "host", "recording goes on behind its end", "    cu->ways.recording = false;\n    g->ways", "    g->ways"),
]

BUGS = LOOP + QUEUE
