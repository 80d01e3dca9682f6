/* Rank 0's part: opens the members, and tells them of every call of a model. */
#include <pthread.h>
#include <string.h>

#include "host/ranks/agree.h"
#include "host/ranks/member.h"
#include "kernels/base/mem.h"
#include "kernels/comm/module.h"

/* What the members have of a model's tables and prompts, so that only changes are sent. */
typedef struct lead_side {
    struct weir_ranks *r;
    int side;
    ranks_table table[RANKS_TABLES];
    int32_t *cross_len;
    int32_t *prompt[WEIR_PROMPTS_OPEN];
    int64_t n_prompt[WEIR_PROMPTS_OPEN]; /* 0: none, or not known any more */
} lead_side;

typedef struct lead_thread {
    ranks_member member;
    pthread_t thread;
    bool started;
} lead_thread;

struct weir_ranks {
    weir_engine *e;
    weir_comm *comm; /* rank 0's */
    lead_thread member[WEIR_RANKS];
    lead_side side[2];
    ranks_words msg;
};

/* ---- messages ------------------------------------------------------------------------------------------ */

/* Pages [0, count) of a slot's row, where the members have others. */
static int32_t put_row(lead_side *l, int which, const weir_kv_view *view, int64_t slot, int64_t count) {
    ranks_table *t = &l->table[which];
    if (!view->pool || count > t->stride) return 0;
    const int32_t *page = view->table + slot * view->table_stride;
    int32_t *known = t->page + slot * t->stride;
    if (memcmp(known, page, (size_t)count * sizeof *page) == 0) return 0;
    memcpy(known, page, (size_t)count * sizeof *page);
    weir__words_put(&l->r->msg, which);
    weir__words_put(&l->r->msg, (int32_t)slot);
    weir__words_put(&l->r->msg, (int32_t)count);
    weir__words_put_all(&l->r->msg, page, (size_t)count);
    return 1;
}

/* Both tables for positions [0, len) of a slot, and its source. */
static int32_t put_slot(lead_side *l, const weir_kv *kv, int32_t slot, int64_t len) {
    const int64_t pages = (len + WEIR_PAGE - 1) / WEIR_PAGE;
    int32_t n =
        put_row(l, RANKS_SELF, &kv->self, slot, pages) + put_row(l, RANKS_SLIDE, &kv->slide, slot, pages);
    if (!kv->cross_len) return n;
    const int64_t source = (kv->cross_len[slot] + WEIR_PAGE - 1) / WEIR_PAGE;
    return n + put_row(l, RANKS_SELF, &kv->self, l->r->e->pair.n_parallel + slot, source);
}

static void begin(lead_side *l, ranks_verb verb) {
    l->r->msg.n = 0;
    weir__words_put(&l->r->msg, verb);
    weir__words_put(&l->r->msg, l->side);
}

/* The number of what follows is known only afterwards. */
static size_t hold_place(lead_side *l) {
    weir__words_put(&l->r->msg, 0);
    return l->r->msg.n - 1;
}

static void fill_place(lead_side *l, size_t at, int32_t n) {
    if (!l->r->msg.failed) l->r->msg.word[at] = n;
}

static int32_t put_source(lead_side *l, const weir_kv *kv, int32_t slot) {
    if (!kv->cross_len || l->cross_len[slot] == kv->cross_len[slot]) return 0;
    l->cross_len[slot] = kv->cross_len[slot];
    weir__words_put(&l->r->msg, slot);
    weir__words_put(&l->r->msg, kv->cross_len[slot]);
    return 1;
}

static weir_status send(lead_side *l) {
    struct weir_ranks *r = l->r;
    if (r->msg.failed) {
        weir__comm_abort(r->comm, WEIR_ENOMEM, weir_status_str(WEIR_ENOMEM));
        return WEIR_ECOMM;
    }
    const void *msg = r->msg.word;
    size_t bytes = r->msg.n * sizeof *r->msg.word;
    return weir__comm_command(r->comm, &msg, &bytes);
}

/* The largest position of a row's slot in the call, where this row is the slot's first; -1: it is not. */
static int64_t last_of_slot(const weir_batch *b, int32_t row) {
    int64_t last = b->pos[row];
    for (int32_t i = 0; i < b->n_row; i++) {
        if (b->slot[i] != b->slot[row]) continue;
        if (i < row) return -1;
        if (b->pos[i] > last) last = b->pos[i];
    }
    return last;
}

static weir_status lead_forward(void *ud, const weir_kv *kv, const weir_batch *b) {
    lead_side *l = ud;
    ranks_words *w = &l->r->msg;
    int32_t n = 0;
    begin(l, RANKS_FORWARD);
    size_t at = hold_place(l);
    for (int32_t i = 0; i < b->n_row; i++) {
        const int64_t last = b->slot[i] < 0 ? -1 : last_of_slot(b, i);
        if (last >= 0) n += put_slot(l, kv, b->slot[i], last + 1);
    }
    fill_place(l, at, n);
    at = hold_place(l);
    n = 0;
    for (int32_t i = 0; i < b->n_row; i++)
        if (b->slot[i] >= 0) n += put_source(l, kv, b->slot[i]);
    fill_place(l, at, n);
    const int32_t head[] = {b->n_row, b->n_out, b->group};
    weir__words_put_all(w, head, 3);
    weir__words_put_all(w, b->token, (size_t)b->n_row);
    weir__words_put_all(w, b->pos, (size_t)b->n_row);
    weir__words_put_all(w, b->slot, (size_t)b->n_row);
    weir__words_put_all(w, b->out, (size_t)b->n_out);
    return send(l);
}

/* Whether the members have this prompt in this place; from now on they do. */
static bool has_prompt(lead_side *l, int32_t place, const int32_t *token, int64_t n) {
    const size_t bytes = (size_t)n * sizeof *token;
    if (l->n_prompt[place] == n && memcmp(l->prompt[place], token, bytes) == 0) return true;
    memcpy(l->prompt[place], token, bytes);
    l->n_prompt[place] = n;
    return false;
}

static weir_status lead_prefill(void *ud, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n,
                                int32_t place, int64_t step) {
    lead_side *l = ud;
    ranks_words *w = &l->r->msg;
    begin(l, RANKS_PREFILL);
    const size_t at = hold_place(l);
    const int64_t pages = (n + WEIR_PAGE - 1) / WEIR_PAGE;
    fill_place(l, at,
               kv->cross_len ? put_row(l, RANKS_SELF, &kv->self, l->r->e->pair.n_parallel + slot, pages)
                             : put_slot(l, kv, slot, n));
    weir__words_put(w, 0);
    const bool known = has_prompt(l, place, token, n);
    const int32_t head[] = {slot, place, (int32_t)step, (int32_t)n, known ? 0 : (int32_t)n};
    weir__words_put_all(w, head, 5);
    if (!known) weir__words_put_all(w, token, (size_t)n);
    return send(l);
}

weir_status weir__ranks_exchange(weir_engine *e, size_t bytes, int times) {
    struct weir_ranks *r = e->pair.ranks;
    begin(&r->side[0], RANKS_EXCHANGE);
    weir__words_put(&r->msg, (int32_t)bytes);
    weir__words_put(&r->msg, times);
    WEIR_TRY(send(&r->side[0]));
    return weir__exchange_rounds(e->pair.be, bytes, times);
}

/* ---- members of this process --------------------------------------------------------------------------- */

static void *member_main(void *arg) {
    ranks_member *m = arg;
    weir_err err = {""};
    const weir_status mine = weir__member_open(m, &err);
    if (weir__ranks_agree_status(m->comm, mine, &err, NULL) == WEIR_OK) weir__member_serve(m);
    weir__member_close(m);
    return NULL;
}

static weir_status start_members(struct weir_ranks *r, weir_comm *const *comm) {
    const weir_pair *p = &r->e->pair;
    const int n_thread = weir__pool_size(p->be->pool);
    for (int i = 1; i < p->n_rank; i++) {
        lead_thread *t = &r->member[i];
        t->member = (ranks_member){.e = r->e, .comm = comm[i], .isa = p->be->isa, .n_thread = n_thread};
    }
    for (int i = 1; i < p->n_rank; i++) {
        lead_thread *t = &r->member[i];
        t->started = pthread_create(&t->thread, NULL, member_main, &t->member) == 0;
        if (t->started) continue;
        weir__comm_abort(r->comm, WEIR_ENOMEM, "cannot start a thread");
        return WEIR_ENOMEM;
    }
    return WEIR_OK;
}

/* ---- rank 0 -------------------------------------------------------------------------------------------- */

/* As the members' tables begin: zeros. */
static weir_status open_mirror(lead_side *l, const weir_engine *e) {
    const weir_kv *kv = &e->deck.side[l->side].kv;
    const weir_kv_view *view[RANKS_TABLES] = {&kv->self, &kv->slide};
    const bool sources = kv->cross_len != NULL;
    for (int t = 0; t < RANKS_TABLES; t++) {
        if (!view[t]->pool) continue;
        l->table[t].n_slot = e->pair.n_parallel * (sources && t == RANKS_SELF ? 2 : 1);
        l->table[t].stride = view[t]->table_stride;
        l->table[t].page =
            weir_calloc((size_t)(l->table[t].n_slot * l->table[t].stride), sizeof *l->table[t].page);
        if (!l->table[t].page) return WEIR_ENOMEM;
    }
    for (int i = 0; i < e->pair.side[l->side].facts.n_open; i++) {
        l->prompt[i] = weir_calloc((size_t)e->pair.ctx_size, sizeof **l->prompt);
        if (!l->prompt[i]) return WEIR_ENOMEM;
    }
    if (!sources) return WEIR_OK;
    l->cross_len = weir_calloc((size_t)e->pair.n_parallel, sizeof *l->cross_len);
    return l->cross_len ? WEIR_OK : WEIR_ENOMEM;
}

static weir_status lead_models(struct weir_ranks *r) {
    weir_engine *e = r->e;
    for (int i = 0; i <= (int)e->pair.has_draft; i++) {
        lead_side *l = &r->side[i];
        l->r = r, l->side = i;
        WEIR_TRY(open_mirror(l, e));
        weir__model_set_lead(e->pair.side[i].model, (weir_model_lead){lead_forward, lead_prefill, l});
    }
    return WEIR_OK;
}

static struct weir_ranks *new_ranks(weir_engine *e) {
    struct weir_ranks *r = weir_calloc(1, sizeof *r);
    if (r) r->e = e, e->pair.ranks = r;
    return r;
}

weir_status weir__ranks_join(weir_engine *e, weir_err *err) {
    struct weir_ranks *r = new_ranks(e);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for the ranks");
    WEIR_TRY(weir__comm_mpi_open(&r->comm, e->pair.comm_seconds, err));
    e->pair.rank = r->comm->rank;
    e->pair.n_near = r->comm->n_near;
    if (r->comm->n_rank == e->pair.n_rank) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "-tp %d, but the MPI job has %d processes", e->pair.n_rank,
                     r->comm->n_rank);
}

weir_status weir__ranks_joined(weir_engine *e, weir_status mine, weir_err *err) {
    weir_err why = {""};
    if (mine != WEIR_OK && err) why = *err;
    mine = weir__ranks_agree_plan(e, e->pair.ranks->comm, mine, &why);
    return mine == WEIR_OK ? mine : weir_fail(err, mine, "%s", why.text);
}

/* This process is a member: its own engine has what it needs of rank 0's. */
static weir_status open_follower(struct weir_ranks *r, weir_err *err) {
    ranks_member *m = &r->member[0].member;
    weir_err why = {""};
    *m = (ranks_member){.e = r->e,
                        .comm = r->comm,
                        .isa = r->e->pair.be->isa,
                        .n_thread = weir__pool_size(r->e->pair.be->pool)};
    const weir_status s = weir__member_open(m, &why);
    return weir__ranks_agree_status(r->comm, s, &why, err);
}

weir_status weir__ranks_open(weir_engine *e, weir_err *err) {
    struct weir_ranks *r = e->pair.ranks;
    if (r && r->comm->rank > 0) return open_follower(r, err);
    if (r) { /* the members are other processes */
        e->pair.be->comm = r->comm;
        return WEIR_OK;
    }
    weir_comm *comm[WEIR_RANKS];
    const int threads = e->pair.n_rank * weir__pool_size(e->pair.be->pool);
    r = new_ranks(e);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for the ranks");
    const weir_status s =
        weir__comm_local_open(comm, e->pair.n_rank, e->pair.comm_seconds, weir__pool_cores() >= threads);
    if (s != WEIR_OK) return weir_fail(err, s, "%s for the ranks", weir_status_str(s));
    r->comm = e->pair.be->comm = comm[0];
    for (int i = 1; i < e->pair.n_rank; i++) r->member[i].member.comm = comm[i];
    if (start_members(r, comm) != WEIR_OK) return weir__comm_failure(r->comm, err);
    return WEIR_OK;
}

weir_status weir_follow(weir_engine *e, weir_err *err) {
    struct weir_ranks *r = e->pair.ranks;
    if (!r || e->pair.rank == 0) return weir_fail(err, WEIR_EINVAL, "rank 0 does not follow");
    return weir__member_serve(&r->member[0].member) ? WEIR_OK : weir__comm_failure(r->comm, err);
}

weir_status weir__ranks_loaded(weir_engine *e, weir_status mine, weir_err *err) {
    struct weir_ranks *r = e->pair.ranks;
    weir_err why = {""};
    if (mine == WEIR_OK && (mine = lead_models(r)) != WEIR_OK)
        (void)weir_fail(&why, mine, "%s for the ranks", weir_status_str(mine));
    else if (mine != WEIR_OK && err)
        why = *err;
    return weir__ranks_agree_status(r->comm, mine, &why, err);
}

void weir__ranks_close(weir_engine *e) {
    struct weir_ranks *r = e->pair.ranks;
    if (!r) return;
    if (r->comm && e->pair.rank == 0) { /* members that are still opening find the group broken */
        r->msg.n = 0;
        weir__words_put(&r->msg, RANKS_CLOSE);
        if (!r->side[0].r || r->msg.failed || send(&r->side[0]) != WEIR_OK)
            weir__comm_abort(r->comm, WEIR_ECANCELED, "closed");
    }
    weir__member_close(&r->member[0].member); /* of a process that follows */
    for (int i = 1; i < WEIR_RANKS; i++) {
        if (r->member[i].started) pthread_join(r->member[i].thread, NULL);
        weir__comm_close(r->member[i].member.comm);
    }
    weir__comm_close(r->comm);
    if (e->pair.be) e->pair.be->comm = NULL;
    for (int i = 0; i < 2; i++) {
        for (int t = 0; t < RANKS_TABLES; t++) weir_free(r->side[i].table[t].page);
        for (int p = 0; p < WEIR_PROMPTS_OPEN; p++) weir_free(r->side[i].prompt[p]);
        weir_free(r->side[i].cross_len);
    }
    weir_free(r->msg.word);
    weir_free(r);
    e->pair.ranks = NULL;
}
