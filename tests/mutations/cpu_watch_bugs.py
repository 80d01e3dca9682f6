"""Bugs in what an operator sees of the server: metrics, the request log, word to the supervisor."""
from entry import cpu_bug

LOG, LINE, METRICS, NOTIFY = "watch_log", "watch_line", "watch_metrics", "watch_notify"


def bug(file, kind, what, tests, old, new, **more):
    return cpu_bug(f"host/serve/watch/{file}.c", kind, what, tests, old, new, **more)


BUGS = [
    bug("histogram", "off by one", "an edge belongs to the next bucket", METRICS,
        "x > h->edges[i]) i++;", "x >= h->edges[i]) i++;"),
    bug("histogram", "check", "NaN is an observation", METRICS, "if (isnan(x) || n == 0) return;", "if (n == 0) return;"),
    bug("histogram", "race", "of two sums at once one is lost", METRICS,
        "    while (!atomic_compare_exchange_weak_explicit(sum, &old, as_bits(as_double(old) + x), memory_order_relaxed,"
        " memory_order_relaxed)) {}",
        "    atomic_store_explicit(sum, as_bits(as_double(old) + x), memory_order_relaxed);"),
    bug("metrics", "check", "a quote ends a label", METRICS, "c != '\\\\' && c != '\"' && c != '\\n'",
        "c != '\\\\' && c != '\\n'"),
    bug("metrics", "off by one", "positions count from the second draft", METRICS,
        "        blocks += s->accept_hist[i + 1];", "        blocks += s->accept_hist[i];"),
    bug("metrics", "check", "every choice's prompt counts", METRICS, "    if (c->reads_prompt) {", "    {"),
    bug("metrics", "units", "each token of a block takes the block's time", METRICS, "seconds / n, (uint64_t)n",
        "seconds, (uint64_t)n"),
    bug("metrics", "index", "paths that are no route count for the last one", METRICS,
        "while (row < m->n_path && !(path", "while (row + 1 < m->n_path && !(path"),
    bug("metrics", "leak", "the counts of paths are kept", METRICS, "    weir_free(m->http);\n", ""),
    bug("families", "off by one", "reasons without a name count for server_shutdown", METRICS,
        "return N_REASON - 1;", "return N_REASON - 2;"),
    bug("prometheus", "order", "buckets do not add up", METRICS,
        "        n += read_cell(&h->bucket[i]);", "        n = read_cell(&h->bucket[i]);"),
    bug("prometheus", "bounds", "all positions are shown", METRICS,
        "f->label == WATCH_LABEL_POSITION ? p->m->max_draft : watch_label_size(f->label)",
        "watch_label_size(f->label)"),
    bug("prometheus", "check", "a model that is not there has pages", METRICS, "        if (isnan(usage[i])) continue;\n",
        ""),
    bug("line", "check", "bytes that a terminal obeys pass", LINE, "c > ' ' && c < 0x7f && c != '\\\\'",
        "c != ' ' && c != '\\n' && c != '\\\\'"),
    bug("line", "bounds", "an id as long as ids may be is cut", LINE, "WORD_MAX = 640", "WORD_MAX = 100"),
    bug("line", "check", "time that is not known is written", LINE, "return isfinite(x);", "return x == x || true;"),
    bug("log", "bounds", "a line may overtake the one that waits longest", LOG, "if (n > l->cap - l->n) return false;",
        "if (n > l->cap) return false;"),
    bug("log", "index", "a line is cut where the ring begins again", LOG,
        "    memcpy(l->ring, line + head, n - head);\n", ""),
    bug("log", "order", "part of a line is taken", LOG, "    while (n > 0 && out[n - 1] != '\\n') n--;\n", ""),
    bug("log", "reset", "what is cut off is not ended", LOG,
        "    if (l->mid_line && !write_all(l, \"\\n\", 1)) return false;\n", ""),
    bug("log", "check", "close waits for its reader for every write", LOG, "    l->stuck = true;\n", ""),
    bug("log", "order", "close leaves what waits", LOG, "        if (l->n == 0 && !l->reopen) break;",
        "        if (l->closing) break;"),
    bug("log", "leak", "a rotated file stays open", LOG, "    close(l->fd);\n    l->fd = fd;", "    l->fd = fd;"),
    bug("log", "check", "probes are logged", LOG, "if (!l || is_probe(r->route)) return;",
        "if (!l || (is_probe(r->route) && r->status != 200)) return;"),
    bug("log", "race", "lines are added without the lock", LOG,
        "    pthread_mutex_lock(&l->lock);\n    const bool fits = ring_add(l, line, n);\n"
        "    if (fits) pthread_cond_signal(&l->changed);\n    pthread_mutex_unlock(&l->lock);",
        "    const bool fits = ring_add(l, line, n);\n    if (fits) pthread_cond_signal(&l->changed);"),
    bug("notify", "off by one", "the length counts the zero byte", NOTIFY,
        "(offsetof(struct sockaddr_un, sun_path) + n);", "(offsetof(struct sockaddr_un, sun_path) + n + 1);"),
    bug("notify", "check", "it waits for a reader that takes nothing", NOTIFY, "MSG_NOSIGNAL | MSG_DONTWAIT",
        "MSG_NOSIGNAL"),
    bug("notify", "leak", "the socket stays open", NOTIFY, "    close(fd);\n", ""),
]
