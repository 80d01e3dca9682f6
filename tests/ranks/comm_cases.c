#include "tests/ranks/comm_cases.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void nap(double seconds) {
    const struct timespec t = {.tv_sec = (time_t)seconds,
                               .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static void expect(found *f, bool ok) {
    if (!ok) atomic_fetch_add(&f->wrong, 1);
}

static int32_t value(int rank, int round, int i) { return rank * 1000003 + round * 7919 + i; }

/* Different sizes, some of them empty, and every rank late in its turn. */
static void exchange_rounds(void *arg, weir_comm *c) {
    found *f = arg;
    enum { ROUNDS = 60, MOST = 500 };
    int32_t mine[2][MOST];
    uint64_t sent = 0;
    for (int round = 0; round < ROUNDS; round++) {
        size_t bytes[WEIR_RANKS];
        const void *peer[WEIR_RANKS];
        int32_t *own = mine[round % 2];
        for (int r = 0; r < c->n_rank; r++) bytes[r] = sizeof *own * (size_t)((r * 37 + round * 11) % MOST);
        if (round % 13 == 5) bytes[round % c->n_rank] = 0;
        for (size_t i = 0; i < bytes[c->rank] / sizeof *own; i++) own[i] = value(c->rank, round, (int)i);
        sent += bytes[c->rank];
        if (round % c->n_rank == c->rank) nap(0.0005);
        expect(f, weir__comm_gather(c, own, bytes, peer) == WEIR_OK);
        for (int r = 0; r < c->n_rank; r++) {
            expect(f, (peer[r] == NULL) == (bytes[r] == 0));
            for (size_t i = 0; peer[r] && i < bytes[r] / sizeof *own; i++)
                expect(f, ((const int32_t *)peer[r])[i] == value(r, round, (int)i));
        }
        if (round % 3 == 0 || round + 1 == ROUNDS) expect(f, weir__comm_release(c) == WEIR_OK);
    }
    expect(f, c->gathered == ROUNDS && c->bytes == sent);
}

static void large(void *arg, weir_comm *c) {
    found *f = arg;
    const size_t n = (5u << 20) / sizeof(int32_t);
    int32_t *mine = malloc(n * sizeof *mine);
    const void *peer[WEIR_RANKS];
    size_t bytes[WEIR_RANKS];
    for (size_t i = 0; i < n; i++) mine[i] = value(c->rank, 1, (int)i);
    for (int r = 0; r < c->n_rank; r++) bytes[r] = n * sizeof *mine;
    expect(f, weir__comm_gather(c, mine, bytes, peer) == WEIR_OK);
    for (int r = 0; r < c->n_rank; r++)
        for (size_t i = 0; i < n; i += 4099) expect(f, ((const int32_t *)peer[r])[i] == value(r, 1, (int)i));
    expect(f, weir__comm_release(c) == WEIR_OK);
    expect(f, c->bytes == bytes[0]);
    free(mine);
}

static void agreement(void *arg, weir_comm *c) {
    found *f = arg;
    char mine[WEIR_AGREE_BYTES], all[WEIR_RANKS * WEIR_AGREE_BYTES];
    for (int round = 0; round < 20; round++) {
        memset(mine, 'a' + c->rank + round, sizeof mine);
        expect(f, weir__comm_agree(c, mine, all, sizeof mine) == WEIR_OK);
        for (int r = 0; r < c->n_rank; r++) expect(f, all[r * WEIR_AGREE_BYTES + 77] == 'a' + r + round);
    }
    expect(f, weir__comm_agree(c, mine, all, 0) == WEIR_EINVAL);
    expect(f, weir__comm_agree(c, mine, all, WEIR_AGREE_BYTES + 1) == WEIR_EINVAL);
}

/* ---- commands ---- */

static void commands(void *arg, weir_comm *c) {
    found *f = arg;
    enum { N = 200 };
    for (int i = 0; i < N; i++) {
        char text[400];
        const void *msg = text;
        size_t bytes = (size_t)(1 + i * 7 % 390);
        if (c->rank == 0) memset(text, 'A' + i % 26, bytes);
        expect(f, weir__comm_command(c, &msg, &bytes) == WEIR_OK);
        expect(f, bytes == (size_t)(1 + i * 7 % 390));
        expect(f, ((const char *)msg)[0] == 'A' + i % 26 && ((const char *)msg)[bytes - 1] == 'A' + i % 26);
        if (c->rank == 0) memset(text, '?', sizeof text); /* a copy was made */
        if (i % 5 == 0) {
            int32_t one = i, all[WEIR_RANKS];
            expect(f, weir__comm_agree(c, &one, all, sizeof one) == WEIR_OK);
        }
    }
}

const comm_case comm_cases[COMM_CASES] = {
    {"exchange", exchange_rounds}, {"large", large}, {"agree", agreement}, {"commands", commands}};
