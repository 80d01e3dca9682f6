#include "host/ranks/message.h"

weir_status weir__exchange_rounds(weir_backend *be, size_t bytes, int times) {
    enum { ROW = 256 }; /* floats: sizes are whole KiB, or one row */
    const int64_t n = (int64_t)(bytes / sizeof(float)), width = n % ROW == 0 ? ROW : n;
    float *mine = weir__backend_alloc(be, 3 * bytes); /* two in turn, as partial sums lie, and their sum */
    weir_status s = mine ? weir__backend_zero(be, mine, 3 * bytes) : WEIR_ENOMEM;
    /* an allocation may wait for the devices, one of which must not wait for this rank by then */
    int32_t here = 0, all[WEIR_RANKS];
    if (s == WEIR_OK) s = weir__comm_agree(be->comm, &here, all, sizeof here);
    if (s != WEIR_OK) {
        weir__comm_abort(be->comm, s, weir_status_str(s));
        if (mine) weir__backend_free(be, mine);
        return WEIR_ECOMM;
    }
    for (int i = 0; s == WEIR_OK && i < times; i++) {
        s = be->exchange->reduce(be, &(weir_reduce){.part = mine + i % 2 * n,
                                                    .y = mine + 2 * n,
                                                    .ldy = width,
                                                    .n_row = n / width,
                                                    .n = width,
                                                    .has = (1u << be->comm->n_rank) - 1});
    }
    if (s == WEIR_OK) s = be->device ? be->stream->wait(be) : weir__comm_release(be->comm);
    weir__backend_free(be, mine);
    return s;
}
