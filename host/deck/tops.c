/* The verifier's likeliest tokens: selected only for rows that a session asks about. */
#include "host/deck/deck.h"

_Static_assert(WEIR_N_TOP_MAX == (int)WEIR_TOP_MAX, "what a session may ask for, a backend can select");

weir_status weir__tops_select(weir_engine *e, int n, int n_top) {
    weir_top_args a = {.logits = e->deck.dev.p_logits,
                       .ld = e->pair.side[WEIR_VERIFIER].ld,
                       .n_row = n,
                       .n_vocab = e->pair.n_vocab,
                       .n_top = n_top,
                       .stats = e->deck.dev.p_stats,
                       .row = e->deck.dev.top_row,
                       .out = e->deck.dev.top};
    WEIR_TRY(WEIR_PUT(e, top_row, n));
    WEIR_TRY(e->pair.be->op.top(e->pair.be, &a));
    return WEIR_GET(e, top, n * n_top);
}

int weir__tops_asked(weir_session *const *s, int n) {
    int most = 0;
    for (int i = 0; i < n; i++)
        if (s[i]->opt.n_top > most) most = s[i]->opt.n_top;
    return most;
}
