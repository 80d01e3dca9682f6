#include "host/deck/commit.h"

static weir_source closing_source(const weir_block_outcome *r) {
    if (r->n_draft == 0) return WEIR_SOURCE_VERIFIER;
    return r->kind == WEIR_EMIT_RESIDUAL ? WEIR_SOURCE_RESAMPLED : WEIR_SOURCE_BONUS;
}

static void book_row(weir_session_stats *st, const weir_accept_row *row) {
    st->rows_examined++;
    st->rows_deferred += row->deferred;
    st->reject_mass += (double)row->reject;
}

/* The accepted drafts and the row that refused one; false once the session has ended. */
static bool commit_drafts(weir_session *s, const weir_block_outcome *r, const weir_seen *seen) {
    weir_session_stats *st = &s->stats;
    int accepted = 0;
    bool going = true;
    while (accepted < r->n_accept && going) {
        const weir_accept_row *row = &r->row[accepted];
        const weir_seen at = weir__seen_at(seen, accepted);
        book_row(st, row);
        going = weir__session_append(s, r->draft[accepted++],
                                     row->deferred ? WEIR_SOURCE_ACCEPTED : WEIR_SOURCE_KEPT, row->log_p,
                                     row->log_pi, &at);
    }
    if (going && r->n_accept < r->n_draft) book_row(st, &r->row[r->n_accept]);
    st->blocks++;
    st->draft_hist[r->n_draft]++;
    st->drafted += r->n_draft;
    st->accepted += accepted;
    st->accept_hist[accepted]++;
    return going;
}

int weir__outcome_rows(const weir_block_outcome *r) {
    return r->live && r->status == WEIR_OK ? r->n_accept + r->closing : 0;
}

weir_status weir__outcome_commit(weir_session *s, const weir_block_outcome *r, const weir_seen *seen,
                                 weir_err *err) {
    if (r->status != WEIR_OK) return weir__session_refuse(s, err);
    const int64_t start = s->n;
    s->past = r->past;
    s->stats.settled = s->past.settled != 0;
    const bool going = s->opt.method == WEIR_METHOD_VERIFIER || commit_drafts(s, r, seen);
    const weir_seen last = weir__seen_at(seen, r->n_accept);
    if (going && r->closing) weir__session_append(s, r->token, closing_source(r), r->log_p, r->log_pi, &last);
    for (int side = 0; side <= (int)!s->retold; side++) /* its text may have changed further back */
        if (s->cached[side] > start + r->n_accept + 1) s->cached[side] = start + r->n_accept + 1;
    return WEIR_OK;
}
