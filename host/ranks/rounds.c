#include "host/ranks/message.h"
#include "kernels/base/clock.h"

/* Sums in turn, as a model's: two parts, and their sum. */
static weir_status batch(weir_backend *be, float *mine, int64_t n, int times) {
    enum { ROW = 256 }; /* floats: sizes are whole KiB, or one row */
    const int64_t width = n % ROW == 0 ? ROW : n;
    for (int i = 0; i < times; i++)
        WEIR_TRY(be->exchange->reduce(be, &(weir_reduce){.part = mine + i % 2 * n,
                                                         .y = mine + 2 * n,
                                                         .ldy = width,
                                                         .n_row = n / width,
                                                         .n = width,
                                                         .has = (1u << be->comm->n_rank) - 1}));
    return be->device ? be->stream->wait(be) : weir__comm_release(be->comm);
}

/* No rank may take memory of a device on which another one waits in a kernel: all have it first. */
static weir_status take(weir_backend *be, size_t bytes, float **mine) {
    int32_t word = 0, all[WEIR_RANKS];
    *mine = weir__backend_alloc(be, bytes);
    if (!*mine) return WEIR_ENOMEM;
    WEIR_TRY(weir__backend_zero(be, *mine, bytes));
    if (!be->device) return WEIR_OK;
    WEIR_TRY(be->stream->wait(be));
    return weir__comm_agree(be->comm, &word, all, sizeof word);
}

weir_status weir__exchange_rounds(weir_backend *be, size_t bytes, int times, int n_batch, double *seconds) {
    float *mine;
    weir_status s = take(be, 3 * bytes, &mine);
    for (int b = 0; s == WEIR_OK && b < n_batch; b++) {
        const double t0 = weir_seconds();
        s = batch(be, mine, (int64_t)(bytes / sizeof(float)), times);
        if (seconds) seconds[b] = weir_seconds() - t0;
    }
    if (s != WEIR_OK) weir__comm_abort(be->comm, s, weir__rank_words(be, s)); /* unless it has ended */
    if (mine) weir__backend_free(be, mine);
    return s == WEIR_OK ? s : WEIR_ECOMM;
}
