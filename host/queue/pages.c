/* Who may begin when pages are few, and who gives them back when there are none. */
#include "host/queue/queue.h"

enum { PAGE = 64, PATIENCE = 2 }; /* positions; suspensions after which a request waits for all it can need */

static int64_t pages_of(int64_t positions) { return (positions + PAGE - 1) / PAGE; }

/* Pages of a model for a prompt and n_written tokens of its answer, and the drafts of a block. */
static int64_t pages_with(const weir_request *r, int64_t n_written) {
    const weir_engine_facts *f = &r->q->facts;
    const int64_t prompt = (int64_t)r->n_token, rest = n_written + f->max_draft + 2;
    return f->encoder_decoder ? pages_of(prompt) + pages_of(rest) : pages_of(prompt + rest);
}

/* What it takes to begin: its prompt, what it has written, a block; or all that it may become. */
static int64_t pages_to_begin(const weir_request *r) {
    const bool all = r->n_suspended >= PATIENCE;
    const int64_t limit = r->n_written + r->n_left;
    return pages_with(r, all ? limit : r->n_written);
}

/* A page is kept for the next block of each that runs. Alone a request has all pages that there are. */
bool weir__queue_has_pages(const weir_request *r) {
    const weir_queue *q = r->q;
    if (!q->shared || q->n_active == 0) return true;
    for (int side = 0; side <= (int)q->facts.has_draft; side++) {
        int64_t n_free, n_total;
        weir_engine_pages(q->e, side, &n_free, &n_total);
        if (pages_to_begin(r) + q->n_active > n_free) return false;
    }
    return true;
}

static bool gives_first(const weir_request *a, const weir_request *b) {
    if (!b || a->wait.priority != b->wait.priority) return !b || a->wait.priority > b->wait.priority;
    return a->wait.number > b->wait.number;
}

/* Of the lowest priority the one that came last, among sessions or among texts that are scored. */
static weir_request *last_of(const weir_queue *q, bool scoring) {
    weir_request *last = NULL;
    for (int i = 0; i < q->n_active; i++) {
        weir_request *r = q->active[i];
        if (!r->cancelled && (r->session == NULL) == scoring && gives_first(r, last)) last = r;
    }
    return last;
}

bool weir__queue_make_room(weir_queue *q, const weir_err *err) {
    weir_request *r = last_of(q, false);
    if (r && q->n_active > 1) {
        weir__request_suspend(r);
        return true;
    }
    /* One that is alone has all pages. Texts that are scored keep theirs; one of several has to go. */
    if (!r) r = last_of(q, true);
    if (r) weir__request_fail(r, WEIR_EPAGES, err->text);
    return r != NULL;
}
