#include "host/ranks/message.h"
#include "kernels/base/mem.h"

weir_status weir__exchange_rounds(weir_backend *be, size_t bytes, int times) {
    weir_comm *c = be->comm;
    const int64_t n = (int64_t)(bytes / sizeof(float));
    float *mine = weir_calloc(3, bytes); /* two in turn, as partial sums lie, and their sum */
    if (!mine) {
        weir__comm_abort(c, WEIR_ENOMEM, weir_status_str(WEIR_ENOMEM));
        return WEIR_ECOMM;
    }
    weir_status s = WEIR_OK;
    for (int i = 0; s == WEIR_OK && i < times; i++) {
        s = be->exchange->reduce(&(weir_reduce){.comm = c,
                                                .part = mine + i % 2 * n,
                                                .y = mine + 2 * n,
                                                .ldy = n,
                                                .n_row = 1,
                                                .n = n,
                                                .has = (1u << c->n_rank) - 1});
    }
    if (s == WEIR_OK) s = weir__comm_release(c);
    weir_free(mine);
    return s;
}
