/* What all ranks must have alike before they load: a list of names and values, compared line by line. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/ranks/agree.h"

/* What a rank says: a failure, or its list. */
typedef struct said {
    int32_t status;
    char text[3072];
} said;

static void line(said *s, const char *name, const char *value) {
    const size_t n = strlen(s->text);
    (void)snprintf(s->text + n, sizeof s->text - n, "%s=%s\n", name, value);
}

static void number(said *s, const char *name, int64_t value) {
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    line(s, name, text);
}

static void hash(said *s, const char *name, uint64_t value) {
    char text[32];
    (void)snprintf(text, sizeof text, "%016" PRIx64, value);
    line(s, name, text);
}

static void list(const weir_engine *e, said *s) {
    const weir_pair *p = &e->pair;
    line(s, "version of weir", WEIR_VERSION);
    line(s, "device", p->be->device ? "cuda" : "cpu");
    line(s, "instruction set (--isa)", p->be->device ? p->be->about : weir__isa_name(p->be->isa));
    number(s, "ranks (-tp)", p->n_rank);
    if (p->draft_auto)
        line(s, "ranks of the drafter (--draft-tp)", "auto");
    else
        number(s, "ranks of the drafter (--draft-tp)", p->draft_rank);
    number(s, "ranks that share the drafter's layers", p->draft_rank);
    number(s, "sessions (-np)", p->n_parallel);
    number(s, "context (-c)", p->ctx_size);
    number(s, "largest gamma", p->max_draft);
    line(s, "kind of drafts", weir_draft_facts(p->draft)->name); /* windows keep pages for it */
    for (int i = 0; i < 2; i++) {
        const bool there = i == 0 || p->has_draft;
        hash(s, i ? "tensors of the drafter" : "tensors of the verifier",
             there ? weir__checkpoint_fingerprint(&p->side[i].ck) : 0);
        line(s, i ? "blocks of the drafter (--quantize-draft)" : "blocks of the verifier (--quantize)",
             weir_dtype_is_float(p->quantise[i]) ? "none" : weir_dtype_name(p->quantise[i]));
        number(s, i ? "pages of the drafter" : "pages of the verifier", there ? p->facts.kv_pages[i] : 0);
    }
}

/* The first line of `theirs` that differs from rank 0's. */
static weir_status compare(const char *own, const char *theirs, int rank, weir_err *err) {
    while (*own && *theirs) {
        const size_t a = strcspn(own, "\n"), b = strcspn(theirs, "\n"), name = strcspn(own, "=");
        if (a != b || memcmp(own, theirs, a) != 0)
            return weir_fail(err, WEIR_EMISMATCH, "rank %d differs: %.*s is %.*s there, %.*s on rank 0", rank,
                             (int)name, own, (int)(b > name ? b - name - 1 : 0), theirs + name + 1,
                             (int)(a - name - 1), own + name + 1);
        own += a + 1, theirs += b + 1;
    }
    return WEIR_OK;
}

static const double LOAD_SECONDS = 3600.0;

weir_status weir__ranks_agree_status(weir_comm *c, weir_status mine, const weir_err *why, weir_err *err) {
    said own = {.status = (int32_t)mine}, all[WEIR_RANKS];
    const double seconds = c->seconds;
    if (mine != WEIR_OK) (void)snprintf(own.text, sizeof own.text, "%s", why->text);
    if (seconds < LOAD_SECONDS) c->seconds = LOAD_SECONDS;
    const weir_status s = weir__comm_agree(c, &own, all, sizeof own);
    c->seconds = seconds;
    if (s != WEIR_OK) return weir__comm_failure(c, err);
    for (int r = 0; r < c->n_rank; r++) {
        if (all[r].status == WEIR_OK) continue;
        if (r == c->rank) return weir_fail(err, (weir_status)all[r].status, "%s", all[r].text);
        return weir_fail(err, (weir_status)all[r].status, "rank %d: %s", r, all[r].text);
    }
    return WEIR_OK;
}

weir_status weir__ranks_agree_plan(const weir_engine *e, weir_comm *c, weir_status mine, weir_err *err) {
    static const weir_err none;
    WEIR_TRY(weir__ranks_agree_status(c, mine, err ? err : &none, err));
    said own = {.status = WEIR_OK}, all[WEIR_RANKS];
    list(e, &own);
    if (weir__comm_agree(c, &own, all, sizeof own) != WEIR_OK) return weir__comm_failure(c, err);
    for (int r = 1; r < c->n_rank; r++) WEIR_TRY(compare(all[0].text, all[r].text, r, err));
    return WEIR_OK;
}
