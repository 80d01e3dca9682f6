#include "kernels/weight/pack.h"

#include <string.h>

#include "kernels/base/mem.h"
#include "kernels/weight/quantise.h"
#include "kernels/weight/weight_quant.h"

enum {
    STAGE_BYTES = 4 << 20, /* host buffer for panels on their way to a device, or PACKERS panels */
    PACKERS = 8,           /* at most so many threads fill it */
};

/* ---- one row of a file's matrix into row `lane` of a panel: bytes are moved, never interpreted --------- */

static void pack_row32(unsigned char *panel, int64_t lane, const unsigned char *src, int64_t k) {
    for (int64_t i = 0; i < k; i++) memcpy(panel + (i * WEIR_PANEL + lane) * 4, src + i * 4, 4);
}

/* A pair of inputs stays together in both layouts. */
static void pack_row16(bool fragment, unsigned char *panel, int64_t lane, const unsigned char *src,
                       int64_t k) {
    for (int64_t i = 0; i + 1 < k; i += 2) {
        memcpy(panel + 2 * (fragment ? weir__fragment_at(i, lane) : weir__panel16_at(i, lane)), src + i * 2,
               4);
    }
    if (k % 2)
        memcpy(panel + 2 * (fragment ? weir__fragment_at(k - 1, lane) : weir__panel16_at(k - 1, lane)),
               src + (k - 1) * 2, 2);
}

/* ---- packing ------------------------------------------------------------------------------------------- */

static weir_status check_parts(const weir_tensor *part, int n_part, bool gated, weir_dtype as, int64_t *n) {
    if (!part || n_part < 1 || (gated && n_part != 2)) return WEIR_EINVAL;
    if (as != part[0].dtype && !(weir_dtype_is_float(part[0].dtype) && weir__can_quantise(as)))
        return WEIR_EINVAL;
    if (part[0].cols % weir_dtype_block(as) != 0) return WEIR_EINVAL;
    int64_t sum = 0;
    for (int i = 0; i < n_part; i++) {
        if (!part[i].data || part[i].rows <= 0 || part[i].cols <= 0 || part[i].n_outer > 0)
            return WEIR_EINVAL;
        if (part[i].dtype != part[0].dtype || part[i].cols != part[0].cols) return WEIR_EINVAL;
        if (gated && part[i].rows != part[0].rows) return WEIR_EINVAL;
        if (part[i].rows > INT64_MAX / 4 - sum) return WEIR_EINVAL;
        sum += part[i].rows;
    }
    *n = gated ? part[0].rows : sum;
    return WEIR_OK;
}

/* The bytes of the file's row that becomes row `lane` of a panel; NULL in the padding after the last. */
static const unsigned char *row_of(const weir_tensor *part, int n_part, bool gated, int64_t panel,
                                   int64_t lane) {
    int64_t row = (gated ? panel / 2 : panel) * WEIR_PANEL + lane;
    int p = gated ? (int)(panel % 2) : 0;
    while (!gated && p < n_part && row >= part[p].rows) row -= part[p++].rows;
    if (p >= n_part || row >= part[p].rows) return NULL;
    return weir_tensor_row(&part[p], row);
}

/* Packing of panels [first, first + n_panel) to dst, shared by threads. */
typedef struct pack_job {
    const weir_weight *w;
    const weir_tensor *part;
    int n_part;
    int64_t first, n_panel;
    unsigned char *dst;
    unsigned char *room; /* of each worker for a row in blocks; NULL: rows are the file's own */
    size_t row_bytes;
} pack_job;

/* Writes panels [begin, end) of the job's. */
static void pack_panels(const pack_job *j, int64_t begin, int64_t end, unsigned char *room) {
    const weir_weight *w = j->w;
    const size_t panel_bytes = (size_t)weir__weight_panel_bytes(w);
    unsigned char *dst = j->dst + (size_t)begin * panel_bytes;
    for (int64_t i = begin; i < end; i++, dst += panel_bytes) {
        memset(dst, 0, panel_bytes);
        for (int64_t lane = 0; lane < WEIR_PANEL; lane++) {
            const unsigned char *src = row_of(j->part, j->n_part, w->gated, j->first + i, lane);
            if (!src) continue;
            if (room) {
                weir__quantise_row(j->part[0].dtype, w->dtype, src, w->k, room);
                src = room;
            }
            if (!weir_dtype_is_float(w->dtype)) {
                weir__quant_pack_row(w->dtype, dst, lane, src, w->k);
            } else if (w->dtype == WEIR_DTYPE_F32) {
                pack_row32(dst, lane, src, w->k);
            } else {
                pack_row16(w->layout == WEIR_LAYOUT_FRAGMENT, dst, lane, src, w->k);
            }
        }
    }
}

static void pack_worker(void *arg, int worker, int n_worker) {
    const pack_job *j = arg;
    long begin, end;
    weir__pool_split((long)j->n_panel, 1, worker, n_worker, &begin, &end);
    pack_panels(j, begin, end, j->room ? j->room + (size_t)worker * j->row_bytes : NULL);
}

/* On the CPU, in place. */
static weir_status fill_panels(weir_backend *be, const weir_weight *w, const weir_tensor *part, int n_part) {
    pack_job job = {.w = w, .part = part, .n_part = n_part, .n_panel = w->n_panel, .dst = w->data};
    if (w->dtype != part[0].dtype) {
        job.row_bytes = ((size_t)weir_dtype_row_bytes(w->dtype, w->k) + 63) / 64 * 64;
        job.room = weir_alloc((size_t)weir__pool_size(be->pool), job.row_bytes);
        if (!job.room) return WEIR_ENOMEM;
    }
    weir__pool_run(be->pool, pack_worker, &job);
    weir_free(job.room);
    return WEIR_OK;
}

/* A device's backend has no threads, and a single thread packs about 2 GB per second: half a minute for 27
 * billion parameters. NULL: only this thread, because the matrix is small or there is one core. */
static weir_pool *open_packers(size_t bytes) {
    weir_pool *pool = NULL;
    const int cores = weir__pool_cores(), n = cores < PACKERS ? cores : PACKERS;
    if (bytes <= STAGE_BYTES || n < 2 || weir__pool_create(&pool, n) != WEIR_OK) return NULL;
    return pool;
}

/* Panels go through a small host buffer, so that loading needs no second copy of a large matrix. */
static weir_status upload_panels(weir_backend *be, const weir_weight *w, const weir_tensor *part,
                                 int n_part) {
    const size_t panel_bytes = (size_t)weir__weight_panel_bytes(w);
    int64_t step = panel_bytes * PACKERS < STAGE_BYTES ? (int64_t)(STAGE_BYTES / panel_bytes) : PACKERS;
    if (step > w->n_panel) step = w->n_panel;
    unsigned char *stage = weir_alloc((size_t)step, panel_bytes);
    if (!stage) return WEIR_ENOMEM;
    weir_pool *pool = open_packers((size_t)w->n_panel * panel_bytes);
    weir_status s = WEIR_OK;
    for (int64_t first = 0; s == WEIR_OK && first < w->n_panel; first += step) {
        const int64_t n_panel = w->n_panel - first < step ? w->n_panel - first : step;
        pack_job job = {
            .w = w, .part = part, .n_part = n_part, .first = first, .n_panel = n_panel, .dst = stage};
        if (pool)
            weir__pool_run(pool, pack_worker, &job);
        else
            pack_worker(&job, 0, 1);
        s = weir__backend_upload(be, (unsigned char *)w->data + (size_t)first * panel_bytes, stage,
                                 (size_t)n_panel * panel_bytes);
    }
    weir__pool_free(pool);
    weir_free(stage);
    return s;
}

/* Rows [first, first + n) of a matrix as they are in the weight, to dst, shared by threads. */
typedef struct row_job {
    const weir_tensor *t;
    weir_dtype as;
    int64_t first, n;
    unsigned char *dst;
    size_t row_bytes;
} row_job;

static void row_worker(void *arg, int worker, int n_worker) {
    const row_job *j = arg;
    long begin, end;
    weir__pool_split((long)j->n, 1, worker, n_worker, &begin, &end);
    for (long r = begin; r < end; r++) {
        unsigned char *to = j->dst + (size_t)r * j->row_bytes;
        const void *from = weir_tensor_row(j->t, j->first + r);
        if (j->as == j->t->dtype)
            memcpy(to, from, j->row_bytes);
        else
            weir__quantise_row(j->t->dtype, j->as, from, j->t->cols, to);
    }
}

/* Rows that do not follow one another, or become blocks, go through a host buffer too. */
static weir_status upload_staged(weir_backend *be, unsigned char *dst, const weir_tensor *t, weir_dtype as,
                                 size_t row_bytes) {
    const int64_t fit = row_bytes < STAGE_BYTES ? (int64_t)(STAGE_BYTES / row_bytes) : 1;
    const int64_t step = fit < t->rows ? fit : t->rows;
    unsigned char *stage = weir_alloc((size_t)step, row_bytes);
    if (!stage) return WEIR_ENOMEM;
    weir_pool *pool = as == t->dtype ? NULL : open_packers((size_t)t->rows * row_bytes);
    weir_status s = WEIR_OK;
    for (int64_t first = 0; s == WEIR_OK && first < t->rows; first += step) {
        const int64_t n = t->rows - first < step ? t->rows - first : step;
        row_job job = {t, as, first, n, stage, row_bytes};
        if (pool)
            weir__pool_run(pool, row_worker, &job);
        else
            row_worker(&job, 0, 1);
        s = weir__backend_upload(be, dst + (size_t)first * row_bytes, stage, (size_t)n * row_bytes);
    }
    weir__pool_free(pool);
    weir_free(stage);
    return s;
}

/* In the file's order: nothing to pack. */
static weir_status upload_rows(weir_backend *be, const weir_weight *w, const weir_tensor *part, int n_part) {
    unsigned char *dst = w->data;
    const size_t row_bytes = (size_t)weir_dtype_row_bytes(w->dtype, w->k);
    for (int p = 0; p < n_part; p++) {
        const bool apart = part[p].stride > 0 && (size_t)part[p].stride != row_bytes;
        const size_t bytes = (size_t)part[p].rows * row_bytes;
        WEIR_TRY(apart || w->dtype != part[p].dtype ? upload_staged(be, dst, &part[p], w->dtype, row_bytes)
                                                    : weir__backend_upload(be, dst, part[p].data, bytes));
        dst += bytes;
    }
    return WEIR_OK;
}

/* The weight that the parts become, without its data. */
static weir_status shape_of(const weir_backend *be, const weir_tensor *part, int n_part, bool gated,
                            weir_use use, weir_dtype as, weir_weight *w) {
    int64_t n;
    WEIR_TRY(check_parts(part, n_part, gated, as, &n));
    *w = weir__weight_shape(weir__layout_of(be->device, as, use), as, n, part[0].cols, gated);
    return WEIR_OK;
}

static weir_status fill(weir_backend *be, const weir_weight *w, const weir_tensor *part, int n_part) {
    return w->layout == WEIR_LAYOUT_PANEL  ? fill_panels(be, w, part, n_part)
           : w->layout == WEIR_LAYOUT_ROWS ? upload_rows(be, w, part, n_part)
                                           : upload_panels(be, w, part, n_part);
}

weir_status weir__weight_pack_at(weir_backend *be, const weir_tensor *part, int n_part, bool gated,
                                 weir_use use, weir_dtype as, void *data, weir_weight *out) {
    weir_weight w;
    if (!be || !out || !data) return WEIR_EINVAL;
    WEIR_TRY(shape_of(be, part, n_part, gated, use, as, &w));
    w.data = data;
    WEIR_TRY(fill(be, &w, part, n_part));
    *out = w;
    return WEIR_OK;
}

weir_status weir__weight_pack_as(struct weir_backend *be, const weir_tensor *part, int n_part, bool gated,
                                 weir_use use, weir_dtype as, weir_weight *out) {
    weir_weight w;
    if (!be || !out) return WEIR_EINVAL;
    WEIR_TRY(shape_of(be, part, n_part, gated, use, as, &w));
    const size_t bytes = weir__weight_bytes(w.layout, w.dtype, w.n, w.k, gated);
    void *data = bytes == SIZE_MAX ? NULL : weir__backend_alloc(be, bytes);
    if (!data) return be->device ? WEIR_EDEVMEM : WEIR_ENOMEM;
    const weir_status s = weir__weight_pack_at(be, part, n_part, gated, use, as, data, out);
    if (s != WEIR_OK) weir__backend_free(be, data);
    return s;
}

void weir__weight_free(struct weir_backend *be, weir_weight *w) {
    if (!w) return;
    weir__backend_free(be, w->data);
    *w = (weir_weight){0};
}
