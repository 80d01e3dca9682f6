"""Bugs in the HTTP core and in the server's life."""
from entry import cpu_bug

GATE, PIPE, LIMITS, LOAD, SOCKET = "http_gate", "http_pipeline", "http_limits", "http_load", "http_socket"
RUN, FAILURES = "run", "run_failures"


def http(file, kind, what, tests, old, new, **more):
    return cpu_bug(f"host/serve/http/{file}.c", kind, what, tests, old, new, **more)


def run(file, kind, what, tests, old, new, **more):
    return cpu_bug(f"host/serve/run/{file}.c", kind, what, tests, old, new, **more)


HTTP = [
    http("gate", "check", "a line feed alone ends a line", GATE,
         "    if (b == '\\n')\n        return serve_fail(", "    if (b == '\\n' && g->state == REFUSED)\n        return serve_fail("),
    http("gate", "check", "control bytes pass", GATE, "if ((b < 0x20 && b != '\\t') || b == 0x7f)", "if (b == 0x7f)"),
    http("gate", "check", "any number of empty lines before a request", GATE,
         "        if (g->first_empty)\n", "        if (g->first_empty && g->chunked)\n"),
    http("gate", "off by one", "a head may be a byte longer", GATE, "g->head.len >= HTTP_HEAD_BYTES", "g->head.len > HTTP_HEAD_BYTES"),
    http("gate", "overflow", "the sum of chunks is not bounded", GATE,
         "    if (g->left > g->max_body - g->n_body) return http_head_too_large(g);\n", ""),
    http("gate", "overflow", "a chunk's size may have any length", GATE, "if (++g->digits > 16)", "if (++g->digits > 1600)"),
    http("gate", "stale", "a chunk's size begins with the one before", GATE, "    if (g->digits == 1) g->left = 0;\n", ""),
    http("gate", "check", "a chunk may be longer than its size", GATE, "if (b != (g->cr ? '\\n' : '\\r'))", "if (b == 0)"),
    http("head", "check", "Host may be there twice", GATE, "    if (twice) return bad(g, \"the field Host is there twice\");\n", ""),
    http("head", "check", "HTTP/1.1 without Host", GATE, "if (!host && g->http11)", "if (!host && !g->http11)"),
    http("head", "check", "blanks before a colon", GATE,
         "    if (!http_is_token(line, (size_t)(colon - line))) return bad(g, \"a field's name is no token\");\n", ""),
    http("head", "check", "folded fields", GATE,
         "    if (line[0] == ' ' || line[0] == '\\t') return bad(g, \"a field is folded over two lines\");\n", "",
         equivalent="a folded line's name begins with a blank, and is no token"),
    http("head", "off by one", "one field too many", GATE, "g->n_field + g->n_trailer == HTTP_FIELDS", "g->n_field == HTTP_FIELDS"),
    http("conn", "check", "a peer that left is answered on", f"{SOCKET} {LOAD} {RUN}",
         "    if (c->broken || (c->eof && c->state == HTTP_CONN_ANSWER))", "    if (c->broken)"),
    http("conn", "missing", "a slow head is never given up", LIMITS,
         "    case HTTP_CONN_HEAD: at = c->since + o->head_seconds; break;", "    case HTTP_CONN_HEAD: break;"),
    http("conn", "missing", "a peer that reads nothing is kept", LIMITS,
         "    return c->counted ? fmin(at, c->progress + o->stall_seconds) : at;", "    return at;"),
    http("conn", "count", "bytes of a closed connection count on", f"{LOAD} http_memory",
         "    s->buffered -= c->counted;\n", ""),
    http("conn", "missing", "no word when a full stream is taken", LOAD,
         "    if (c->x.active && calls->drained) calls->drained(calls->ud, &c->x);\n", ""),
    http("conn", "order", "requests are read while one is answered", PIPE,
         "return c->state <= HTTP_CONN_BODY && !c->broken", "return c->state <= HTTP_CONN_ANSWER && !c->broken"),
    http("conn", "check", "bodies together may be of any size", LIMITS,
         "if (s->bodies + c->gate.n_span > s->opt.max_bodies) {", "if (s->bodies > SIZE_MAX / 2) {"),
    http("exchange", "check", "a line break in a value begins a field", "http_admit http_pipeline http_socket",
         "if ((unsigned char)b->data[i] < 0x20 || b->data[i] == 0x7f) b->data[i] = ' ';", "if (b->data[i] == 0x7f) b->data[i] = ' ';",
         equivalent="no header that is added holds bytes of a request that are not visible"),
    http("exchange", "missing", "a draining server keeps connections", "http_open run",
         "c->server->draining || c->surplus", "c->surplus"),
]

RUNS = [
    run("exchange", "missing", "who leaves is written for to the end", RUN,
        "    e->x = NULL;\n    cancel_choices(e);\n", "    e->x = NULL;\n"),
    run("exchange", "leak", "tokens that nobody takes are kept", f"{FAILURES} {RUN}",
        "    for (int i = 0; e->submitted && i < e->n_job; i++) free_news(e, &e->choices[i]);\n", ""),
    run("record", "race", "figures of answers that are being written", RUN, "        if (!c->arrived) continue;\n", "", builds=["tsan"]),
    run("exchange", "check", "a deadline before the first token is an empty answer", RUN,
        "    if (c->deadline && (empty || c->scoring))", "    if (c->deadline && c->scoring)"),
    run("exchange", "count", "waiting bytes only grow", RUN, "        e->s->waiting -= n->bytes;\n        weir_free(n);\n    }\n    if (!c->arrived",
        "        weir_free(n);\n    }\n    if (!c->arrived", invisible="no test fills the buffer of all streams"),
    run("exchange", "check", "an exchange is freed before all its jobs have ended", f"{RUN} {FAILURES}",
        "(!e->submitted || e->n_arrived == e->n_job)", "(!e->submitted || e->n_arrived > 0)"),
    run("step", "default", "keys share prompts", RUN,
        "        jobs[i].options.cache_salt ^= client; /* nobody learns from times what others ask */\n", ""),
    run("exchange", "default", "salts share prompts", RUN, "    job.options.cache_salt = a->cache_salt;\n", ""),
    run("step", "missing", "a full queue has no Retry-After", RUN,
        "    e->retry_after = !(wait > 1.0) ? 1 : wait < 60.0 ? (int)wait : 60;\n", ""),
    run("step", "check", "a token that cannot be copied is lost without a word", FAILURES,
        "        c->starved = true;\n        weir_queue_cancel(ev->request);\n", ""),
    run("step", "missing", "requests have no deadline", RUN, "        if (limit > 0.0) jobs[i].until = began + limit;\n", ""),
    run("serve", "missing", "a drain does not wait for answers", RUN,
        "    if (s->n_exchange == 0 && http_server_counts", "    if (http_server_counts"),
    run("serve", "order", "ready before the models are described", RUN, "        describe(s);\n", ""),
    run("serve", "missing", "a lost device is no failure", FAILURES, "        st = s.failed;\n", ""),
]

BUGS = HTTP + RUNS
