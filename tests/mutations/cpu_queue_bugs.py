"""Bugs in the queue of requests: turns, slots, events, threads, what ends a request."""
from entry import cpu_bug

FILE = "host/queue/queue.c"
ENDS, FAILURES, THREADS = "queue_ends", "queue_failures", "queue_threads"


def bug(kind, what, tests, old, new, **more):
    return cpu_bug(FILE, kind, what, tests, old, new, **more)


def submit_bug(kind, what, tests, old, new, **more):
    return cpu_bug("host/queue/submit.c", kind, what, tests, old, new, **more)


BUGS = [
    bug("off by one", "a long prompt's turn comes after itself", "queue",
        "if (!after && r->turn > q->turn) after = r;", "if (!after && r->turn >= q->turn) after = r;"),
    bug("order", "prompts get their turn when they first run", "queue",
        "        r->turn = ++q->last_turn;\n        taken++, prefills++;", "        taken++, prefills++;"),
    bug("off by one", "one request more than slots", "queue " + ENDS,
        "r && taken < q->facts.n_parallel && prefills", "r && taken <= q->facts.n_parallel && prefills"),
    bug("off by one", "a slice of no positions", "queue",
        "return n < 1.0 ? 1 : n < 1e6", "return n < 1.0 ? 0 : n < 1e6"),
    bug("check", "a prompt that was given up is measured", "queue",
        "if (done > 0 && weir_session_state(r->session) == WEIR_RUNNING) {", "if (done > 0) {"),
    bug("stale", "an event of a request that was freed", ENDS,
        "        unlink_event(q, r);\n        r->orphan = r->cancelled = true;",
        "        r->orphan = r->cancelled = true;"),
    bug("reset", "a freed request stays in the queue for good", ENDS,
        "    if (r->orphan)\n        remove_request(q, r);\n    else\n        notify(q, r);", "    notify(q, r);"),
    bug("check", "a request is freed while its prompt runs", ENDS,
        "    if (r->state == WEIR_REQUEST_ENDED) {\n        remove_request(q, r);",
        "    if (r->state != WEIR_REQUEST_RUNNING) {\n        end_request(q, r, WEIR_OK, NULL);\n"
        "        remove_request(q, r);"),
    bug("overflow", "the lists of a round have no bound", ENDS,
        "if (r->state == WEIR_REQUEST_WAITING && without_slot++ >= q->facts.n_parallel) continue;",
        "(void)without_slot;"),
    bug("check", "a cancelled request takes a slot first", ENDS,
        "if (r->state != WEIR_REQUEST_WAITING || r->cancelled) continue;",
        "if (r->state != WEIR_REQUEST_WAITING) continue;",
        equivalent="the round's step ends it before its session takes one; others wait a round at most"),
    bug("leak", "a request whose prompt failed keeps its slot", FAILURES,
        "            fail_request(r, st, err.text);", "            end_request(q, r, st, err.text);"),
    bug("args", "a prompt's own failure ends all", FAILURES,
        "        if (st == WEIR_ECUDA)\n            break_down", "        if (st != WEIR_OK)\n            break_down"),
    bug("args", "a row of NaN ends all", FAILURES,
        "if (st != WEIR_OK && st != WEIR_ELOGITS) break_down", "if (st != WEIR_OK) break_down"),
    submit_bug("check", "a broken engine takes requests", FAILURES,
        "    if (q->broken != WEIR_OK) return", "    if (q->broken == WEIR_ECUDA) return"),
    bug("precedence", "the last failure is told, not the first", FAILURES,
        "if (r->status == WEIR_OK && status != WEIR_OK) set_failure", "if (status != WEIR_OK) set_failure",
        equivalent="a status that is set before the end is a failure's of that round, and a session that fails "
                   "twice in one round has the same one"),
    bug("check", "lack of memory for a token looks like a cancel", FAILURES,
        "if (r->starved || (!moved && !runs))", "if (!moved && !runs)"),
    bug("check", "tokens that have no room are forgotten", FAILURES,
        "if (r->starved || (!moved && !runs))", "if (r->starved || (!moved && n < 0))"),
    bug("leak", "tokens that were taken are not given back", ENDS, "    free_tokens(&r->taken);\n", ""),
    bug("check", "two threads have events of one request", THREADS,
        "        r->held = true;\n", "        r->held = false;\n"),
    bug("wait", "nobody is told of what a thread lets go", THREADS,
        "        if (r->notified) pthread_cond_broadcast(&q->changed);\n", ""),
    bug("wait", "two wakes are one", ENDS, "    q->n_wake++;\n", "    q->n_wake = 1;\n"),
    submit_bug("wait", "a request does not end a wait", THREADS,
        "    pthread_cond_broadcast(&q->changed);\n", ""),
    bug("precedence", "idle while there is work", ENDS,
        "(expired && q->n_unfinished == 0)", "expired"),
    bug("race", "cancels without the lock", THREADS,
        "    pthread_mutex_lock(&q->lock);\n    r->cancelled = true;\n    weir_session_cancel(r->session);\n"
        "    pthread_mutex_unlock(&q->lock);",
        "    pthread_mutex_lock(&q->lock);\n    pthread_mutex_unlock(&q->lock);\n    r->cancelled = true;\n"
        "    weir_session_cancel(r->session);", builds=["tsan"]),
    bug("race", "two threads step at once", THREADS,
        "if (q->n_unfinished > 0 && !q->stepping) {", "if (q->n_unfinished > 0) {"),
]
