#include "kernels/comm/comm.h"

#include <string.h>

/* Only the rank's own thread writes, so a store is enough for those who read meanwhile. */
static void add(uint64_t *total, uint64_t n) { __atomic_store_n(total, *total + n, __ATOMIC_RELAXED); }

void weir__comm_counts(const weir_comm *c, uint64_t *gathered, uint64_t *bytes) {
    *gathered = __atomic_load_n(&c->gathered, __ATOMIC_RELAXED);
    *bytes = __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
}

void weir__comm_count(weir_comm *c, size_t bytes) {
    add(&c->gathered, 1);
    add(&c->bytes, bytes);
}

weir_status weir__comm_gather(weir_comm *c, const void *mine, const size_t *bytes, const void **peer) {
    weir__comm_count(c, bytes[c->rank]);
    return c->op->gather(c, mine, bytes, peer);
}

weir_status weir__comm_release(weir_comm *c) { return c->op->release(c); }

weir_status weir__comm_agree(weir_comm *c, const void *mine, void *all, size_t bytes) {
    size_t size[WEIR_RANKS];
    const void *peer[WEIR_RANKS];
    if (bytes == 0 || bytes > WEIR_AGREE_BYTES) return WEIR_EINVAL;
    for (int r = 0; r < c->n_rank; r++) size[r] = bytes;
    WEIR_TRY(weir__comm_gather(c, mine, size, peer));
    for (int r = 0; r < c->n_rank; r++) memcpy((char *)all + (size_t)r * bytes, peer[r], bytes);
    return weir__comm_release(c);
}

weir_status weir__comm_command(weir_comm *c, const void **msg, size_t *bytes) {
    return c->op->command(c, msg, bytes);
}

void weir__comm_abort(weir_comm *c, weir_status why, const char *text) { c->op->give_up(c, why, text); }

bool weir__comm_ended(weir_comm *c) { return c->op->ended(c); }

void weir__comm_watch(weir_comm *c, uint32_t *word) { c->op->watch(c, word); }

weir_status weir__comm_failure(weir_comm *c, weir_err *err) {
    weir_err why = {""};
    c->op->failure(c, &why);
    return weir_fail(err, WEIR_ECOMM, "%s", why.text[0] ? why.text : "the group of ranks has ended");
}

void weir__comm_close(weir_comm *c) {
    if (c) c->op->close(c);
}
