#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ranks/comm_cases.h"

static void expect(found *f, bool ok) {
    if (!ok) atomic_fetch_add(&f->wrong, 1);
}

/* ---- arrays of the backend ---- */

static void *room(weir_backend *be, const void *from, size_t bytes) {
    void *p = weir__backend_alloc(be, bytes);
    if (!p || weir__backend_upload(be, p, from, bytes) != WEIR_OK) abort();
    return p;
}

static void get(found *f, weir_backend *be, void *to, const void *from, size_t bytes) {
    expect(f, weir__backend_download(be, to, from, bytes) == WEIR_OK);
}

/* ---- reduce: partial sums by the tree; a rank without inputs hands its neighbour through, -0 too ---- */

typedef struct sum_shape {
    int64_t n_row, n, ldy;
} sum_shape;

static float part_at(int rank, int64_t i) {
    return i % 5 == 4 ? -0.0f : (float)(rank + 1) * 1.1f + (float)(i % 1000) * 0.37f;
}

static float tree_at(int n_rank, uint32_t has, int64_t i) {
    float v[WEIR_RANKS];
    bool there[WEIR_RANKS];
    for (int r = 0; r < n_rank; r++) v[r] = part_at(r, i), there[r] = has >> r & 1;
    for (int n = n_rank; n > 1; n /= 2) {
        for (int r = 0; r < n / 2; r++) {
            const bool a = there[2 * r], b = there[2 * r + 1];
            v[r] = a && b ? v[2 * r] + v[2 * r + 1] : a ? v[2 * r] : v[2 * r + 1];
            there[r] = a || b;
        }
    }
    return v[0];
}

static void reduce_shape(found *f, weir_backend *be, sum_shape s, uint32_t has) {
    const int64_t n = s.n_row * s.n, n_y = s.n_row * s.ldy;
    float *part = malloc((size_t)n * sizeof *part), *y = malloc((size_t)n_y * sizeof *y);
    for (int64_t i = 0; i < n; i++) part[i] = part_at(be->comm->rank, i);
    for (int64_t i = 0; i < n_y; i++) y[i] = 100.0f;
    void *part_there = room(be, part, (size_t)n * sizeof *part),
         *y_there = room(be, y, (size_t)n_y * sizeof *y);
    const weir_reduce a = {.part = part_there,
                           .y = y_there,
                           .ldy = s.ldy,
                           .n_row = s.n_row,
                           .n = s.n,
                           .has = has,
                           .add = has % 3 == 0,
                           .scale = has % 4 == 1 ? 0.22f : 0.0f}; /* 0: unscaled */
    expect(f, be->exchange->reduce(be, &a) == WEIR_OK);
    get(f, be, y, y_there, (size_t)n_y * sizeof *y);
    for (int64_t i = 0; i < n_y; i++) {
        const int64_t at = i / s.ldy * s.n + i % s.ldy;
        const float whole = i % s.ldy < s.n ? tree_at(be->comm->n_rank, has, at) : 0.0f;
        const float sum = a.scale > 0.0f ? a.scale * whole : whole;
        const float want = i % s.ldy >= s.n ? 100.0f : a.add ? 100.0f + sum : sum;
        expect(f, memcmp(&y[i], &want, sizeof want) == 0);
    }
    if (!be->device) expect(f, weir__comm_release(be->comm) == WEIR_OK); /* the others may still read */
    weir__backend_free(be, part_there);
    weir__backend_free(be, y_there);
    free(part);
    free(y);
}

static void reduce(found *f, weir_backend *be) {
    const uint32_t all = (1u << be->comm->n_rank) - 1;
    for (uint32_t has = 1; has <= all; has += has < 16 ? 1 : 37) {
        reduce_shape(f, be, (sum_shape){3, 5, 7}, has);
        reduce_shape(f, be, (sum_shape){2, 8, 12}, has);
    }
    reduce_shape(f, be, (sum_shape){40, 520, 520}, all);  /* several blocks */
    reduce_shape(f, be, (sum_shape){150, 520, 520}, all); /* more than a slice */
    reduce_shape(f, be, (sum_shape){1, 520, 521}, all);
    reduce_shape(f, be, (sum_shape){33, 520, 521}, all);
    reduce_shape(f, be, (sum_shape){130, 519, 519}, all & ~2u); /* in parts */
    reduce_shape(f, be, (sum_shape){129, 520, 524}, 3);
    const weir_reduce none = {.n_row = 1, .n = 1, .ldy = 1, .has = 1};
    expect(f, be->exchange->reduce(be, &none) == WEIR_EINVAL);
}

/* ---- collect: owners of three, no and one ids; then columns of the same owners ---- */

enum { IDS = 9 };
static const int64_t first_id[] = {0, 3, 3, 4, 9, 9, 9, 9, 9};

static void collect_rows(found *f, weir_backend *be, int64_t n) {
    enum { ROWS = 6, MOST = 64 };
    const int rank = be->comm->rank;
    const int32_t id[ROWS] = {8, 0, 3, 2, 2, 4};
    float x[ROWS * MOST];
    for (int64_t i = 0; i < ROWS * n; i++) {
        const int32_t of = id[i / n];
        const bool own = of >= first_id[rank] && of < first_id[rank + 1];
        x[i] = own ? (float)(of * 100 + i % n) : -1.0f;
    }
    void *x_there = room(be, x, (size_t)(ROWS * n) * sizeof *x), *id_there = room(be, id, sizeof id);
    const weir_collect_rows a = {.x = x_there, .id = id_there, .n_row = ROWS, .n = n, .first = first_id};
    expect(f, be->exchange->collect_rows(be, &a) == WEIR_OK);
    get(f, be, x, x_there, (size_t)(ROWS * n) * sizeof *x);
    for (int64_t i = 0; i < ROWS * n; i++) expect(f, x[i] == (float)(id[i / n] * 100 + i % n));
    weir__backend_free(be, x_there);
    weir__backend_free(be, id_there);
}

static void collect_columns(found *f, weir_backend *be, int64_t scale, int64_t ldy) {
    enum { ROWS = 2, MOST = 64 };
    const int rank = be->comm->rank;
    int64_t first[WEIR_RANKS + 1];
    for (int r = 0; r <= be->comm->n_rank; r++) first[r] = first_id[r] * scale;
    const int64_t n = first[rank + 1] - first[rank];
    float part[ROWS * MOST], y[ROWS * MOST];
    for (int64_t i = 0; i < ROWS * ldy; i++) y[i] = -1.0f;
    for (int row = 0; row < ROWS; row++) {
        for (int64_t k = 0; k < n; k++) {
            part[row * n + k] = (float)(row * 100 + first[rank] + k);
            if (rank == 0) y[row * ldy + k] = part[row * n + k];
        }
    }
    void *part_there = n > 0 ? room(be, part, sizeof part) : NULL, *y_there = room(be, y, sizeof y);
    const weir_collect_columns a = {
        .part = part_there, .y = rank == 0 ? y_there : NULL, .ldy = ldy, .n_row = ROWS, .first = first};
    expect(f, be->exchange->collect_columns(be, &a) == WEIR_OK);
    get(f, be, y, y_there, sizeof y);
    for (int64_t i = 0; rank == 0 && i < ROWS * ldy; i++)
        expect(f, y[i] == (i % ldy < IDS * scale ? (float)(i / ldy * 100 + i % ldy) : -1.0f));
    if (!be->device) expect(f, weir__comm_release(be->comm) == WEIR_OK);
    if (part_there) weir__backend_free(be, part_there);
    weir__backend_free(be, y_there);
}

static void collect(found *f, weir_backend *be) {
    if (be->comm->n_rank < 4) return; /* not all ids would have an owner */
    collect_rows(f, be, 4);
    collect_rows(f, be, 3);
    collect_columns(f, be, 1, 12);
    collect_columns(f, be, 4, 40);
    collect_columns(f, be, 4, 37);
    int32_t outside = IDS;
    float x = 0.0f;
    const weir_collect_rows a = {.x = &x, .id = &outside, .n_row = 1, .n = 1, .first = first_id};
    if (!be->device) expect(f, be->exchange->collect_rows(be, &a) == WEIR_EINVAL);
}

/* Rows are a rank's own again when it has come back: rank 0, which has most of them and so the least to copy,
 * writes over its own at once. */
static void reuse(found *f, weir_backend *be) {
    enum { ROWS = 8, ROUNDS = 20 };
    const int64_t n = be->device ? 1000 : 20000, first[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    const int32_t id[ROWS] = {[ROWS - 1] = be->comm->n_rank - 1};
    const size_t bytes = (size_t)(ROWS * n) * sizeof(float);
    float *x = malloc(bytes);
    void *x_there = weir__backend_alloc(be, bytes), *id_there = room(be, id, sizeof id);
    for (int round = 0; round < ROUNDS; round++) {
        for (int64_t i = 0; i < ROWS * n; i++)
            x[i] = id[i / n] == be->comm->rank ? (float)(round * ROWS + i / n) : -1.0f;
        expect(f, weir__backend_upload(be, x_there, x, bytes) == WEIR_OK);
        const weir_collect_rows a = {.x = x_there, .id = id_there, .n_row = ROWS, .n = n, .first = first};
        expect(f, be->exchange->collect_rows(be, &a) == WEIR_OK);
        if (be->comm->rank == 0) expect(f, weir__backend_zero(be, x_there, bytes) == WEIR_OK);
        if (be->comm->rank == 0) continue;
        get(f, be, x, x_there, bytes);
        for (int64_t i = 0; i < ROWS * n; i++) expect(f, x[i] == (float)(round * ROWS + i / n));
    }
    weir__backend_free(be, x_there);
    weir__backend_free(be, id_there);
    free(x);
}

/* ---- spread ---- */

static void spread(found *f, weir_backend *be) {
    enum { MOST = 700 };
    const int32_t n[WEIR_SPREAD] = {MOST, 1, 0, 33};
    int32_t word[WEIR_SPREAD][MOST];
    weir_spread a = {.loop = false};
    for (int round = 0; round < 5; round++) {
        for (int k = 0; k < WEIR_SPREAD; k++) {
            for (int i = 0; i < n[k]; i++)
                word[k][i] = be->comm->rank == 0 ? round * 10000 + k * 1000 + i : -1;
            a.n[k] = n[k];
            a.to[k] = n[k] > 0 ? room(be, word[k], sizeof *word) : NULL;
            a.from[k] = a.to[k];
        }
        expect(f, be->exchange->spread(be, &a) == WEIR_OK);
        for (int k = 0; k < WEIR_SPREAD; k++) {
            if (n[k] == 0) continue;
            get(f, be, word[k], a.to[k], sizeof *word);
            for (int i = 0; i < n[k]; i++) expect(f, word[k][i] == round * 10000 + k * 1000 + i);
            weir__backend_free(be, a.to[k]);
        }
    }
    a = (weir_spread){.n = {1}};
    expect(f, be->exchange->spread(be, &a) == WEIR_EINVAL);
}

const exchange_case exchange_cases[EXCHANGE_CASES] = {
    {"reduce", reduce}, {"collect", collect}, {"reuse", reuse}, {"spread", spread}};
