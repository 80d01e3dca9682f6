#include "tests/ranks/comm_cases.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/comm/exchange.h"

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
    for (int round = 0; round < ROUNDS; round++) {
        size_t bytes[WEIR_RANKS];
        const void *peer[WEIR_RANKS];
        int32_t *own = mine[round % 2];
        for (int r = 0; r < c->n_rank; r++) bytes[r] = sizeof *own * (size_t)((r * 37 + round * 11) % MOST);
        if (round % 13 == 5) bytes[round % c->n_rank] = 0;
        for (size_t i = 0; i < bytes[c->rank] / sizeof *own; i++) own[i] = value(c->rank, round, (int)i);
        if (round % c->n_rank == c->rank) nap(0.0005);
        expect(f, weir__comm_gather(c, own, bytes, peer) == WEIR_OK);
        for (int r = 0; r < c->n_rank; r++) {
            expect(f, (peer[r] == NULL) == (bytes[r] == 0));
            for (size_t i = 0; peer[r] && i < bytes[r] / sizeof *own; i++)
                expect(f, ((const int32_t *)peer[r])[i] == value(r, round, (int)i));
        }
        if (round % 3 == 0 || round + 1 == ROUNDS) expect(f, weir__comm_release(c) == WEIR_OK);
    }
    expect(f, c->gathered == ROUNDS);
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

/* Partial sums by the tree; ranks without inputs hand their neighbour through, signs of zeros too. */
static void reduce(void *arg, weir_comm *c) {
    found *f = arg;
    enum { ROWS = 3, N = 5, LD = 7 };
    const uint32_t all = (1u << c->n_rank) - 1;
    float part[2][ROWS * N];
    for (uint32_t has = 1; has <= all; has++) {
        float y[ROWS * LD];
        float *own = part[has % 2];
        for (int i = 0; i < ROWS * N; i++)
            own[i] = i % N == 4 ? -0.0f : (float)(c->rank + 1) * 1.1f + (float)i * 0.37f;
        for (int i = 0; i < ROWS * LD; i++) y[i] = 100.0f;
        const weir_reduce a = {.comm = c,
                               .part = own,
                               .y = y,
                               .ldy = LD,
                               .n_row = ROWS,
                               .n = N,
                               .has = has,
                               .add = has % 3 == 0};
        expect(f, weir__exchange_cpu.reduce(&a) == WEIR_OK);
        for (int i = 0; i < ROWS * N; i++) {
            float v[WEIR_RANKS];
            bool there[WEIR_RANKS];
            for (int r = 0; r < c->n_rank; r++) {
                there[r] = has >> r & 1;
                v[r] = i % N == 4 ? -0.0f : (float)(r + 1) * 1.1f + (float)i * 0.37f;
            }
            for (int n = c->n_rank; n > 1; n /= 2) {
                for (int r = 0; r < n / 2; r++) {
                    const bool a0 = there[2 * r], b0 = there[2 * r + 1];
                    v[r] = a0 && b0 ? v[2 * r] + v[2 * r + 1] : a0 ? v[2 * r] : v[2 * r + 1];
                    there[r] = a0 || b0;
                }
            }
            const float want = a.add ? 100.0f + v[0] : v[0], got = y[i / N * LD + i % N];
            expect(f, memcmp(&got, &want, sizeof got) == 0);
        }
        for (int row = 0; row < ROWS; row++)
            for (int i = N; i < LD; i++) expect(f, y[row * LD + i] == 100.0f);
    }
    expect(f, weir__comm_release(c) == WEIR_OK); /* the others may still read */
}

/* Owners of three, no and one ids; then columns of the same owners. */
static void collect(void *arg, weir_comm *c) {
    found *f = arg;
    enum { ROWS = 6, N = 4 };
    const int64_t first[] = {0, 3, 3, 4, 9, 9, 9, 9, 9};
    if (c->n_rank < 4) return; /* not all ids would have an owner */
    const int32_t id[ROWS] = {8, 0, 3, 2, 2, 4};
    float x[ROWS * N];
    for (int i = 0; i < ROWS; i++) {
        const bool own = id[i] >= first[c->rank] && id[i] < first[c->rank + 1];
        for (int k = 0; k < N; k++) x[i * N + k] = own ? (float)(id[i] * 10 + k) : -1.0f;
    }
    weir_collect_rows rows = {.comm = c, .x = x, .id = id, .n_row = ROWS, .n = N, .first = first};
    expect(f, weir__exchange_cpu.collect_rows(&rows) == WEIR_OK);
    for (int i = 0; i < ROWS * N; i++) expect(f, x[i] == (float)(id[i / N] * 10 + i % N));

    const int64_t n = first[c->rank + 1] - first[c->rank];
    float part[2 * 9], y[2 * 12];
    for (int row = 0; row < 2; row++) {
        for (int64_t k = 0; k < n; k++) part[row * n + k] = (float)(row * 100 + first[c->rank] + k);
        for (int k = 0; k < 12; k++) y[row * 12 + k] = k < n && c->rank == 0 ? part[row * n + k] : -1.0f;
    }
    const weir_collect_columns columns = {.comm = c,
                                          .part = n > 0 ? part : NULL,
                                          .y = c->rank == 0 ? y : NULL,
                                          .ldy = 12,
                                          .n_row = 2,
                                          .first = first};
    expect(f, weir__exchange_cpu.collect_columns(&columns) == WEIR_OK);
    for (int i = 0; c->rank == 0 && i < 24; i++)
        expect(f, y[i] == (i % 12 < 9 ? (float)(i / 12 * 100 + i % 12) : -1.0f));
    expect(f, weir__comm_release(c) == WEIR_OK);
    const int32_t outside = 9;
    rows.id = &outside, rows.n_row = 1;
    expect(f, weir__exchange_cpu.collect_rows(&rows) == WEIR_EINVAL);
}

const comm_case comm_cases[COMM_CASES] = {
    {"exchange", exchange_rounds}, {"large", large},   {"agree", agreement},
    {"commands", commands},        {"reduce", reduce}, {"collect", collect}};
