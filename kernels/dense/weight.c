#include "kernels/dense/weight.h"

#include <string.h>

#include "kernels/backend.h"

enum { PANEL = 16 };

static int64_t panels_of(int64_t n, bool gated) { return (n + PANEL - 1) / PANEL * (gated ? 2 : 1); }

size_t weir_weight_bytes(weir_layout layout, weir_dtype dtype, int64_t n, int64_t k, bool gated) {
    (void)layout;
    if (n <= 0 || k <= 0 || n > INT64_MAX / 4 || k > INT64_MAX / 4) return SIZE_MAX;
    const size_t panel_row = (size_t)PANEL * (size_t)weir_dtype_bytes(dtype);
    const size_t n_panel = (size_t)panels_of(n, gated), k_pad = (size_t)(k + (k & 1));
    if (n_panel > SIZE_MAX / panel_row / k_pad) return SIZE_MAX;
    return n_panel * k_pad * panel_row;
}

/* One row of a file's matrix into lane `lane` of a panel. Bytes are moved, never interpreted. */
static void pack_row(weir_dtype dtype, unsigned char *panel, int lane, const unsigned char *src, int64_t k) {
    if (dtype == WEIR_DTYPE_F32) {
        for (int64_t i = 0; i < k; i++) memcpy(panel + (i * PANEL + lane) * 4, src + i * 4, 4);
        return;
    }
    for (int64_t i = 0; i < k; i++) {
        memcpy(panel + ((i / 2 * PANEL + lane) * 2 + i % 2) * 2, src + i * 2, 2);
    }
}

static weir_status check_parts(const weir_tensor *part, int n_part, bool gated, int64_t *n) {
    if (!part || n_part < 1 || (gated && n_part != 2)) return WEIR_EINVAL;
    int64_t sum = 0;
    for (int i = 0; i < n_part; i++) {
        if (!part[i].data || part[i].rows <= 0 || part[i].cols <= 0) return WEIR_EINVAL;
        if (part[i].dtype != part[0].dtype || part[i].cols != part[0].cols) return WEIR_EINVAL;
        if (gated && part[i].rows != part[0].rows) return WEIR_EINVAL;
        if (part[i].rows > INT64_MAX / 4 - sum) return WEIR_EINVAL;
        sum += part[i].rows;
    }
    *n = gated ? part[0].rows : sum;
    return WEIR_OK;
}

weir_status weir_weight_pack(struct weir_backend *be, const weir_tensor *part, int n_part, bool gated, weir_use use,
                             weir_weight *out) {
    (void)use;
    int64_t n;
    if (!be || !out) return WEIR_EINVAL;
    WEIR_TRY(check_parts(part, n_part, gated, &n));
    const weir_dtype dtype = part[0].dtype;
    const int64_t k = part[0].cols;
    const size_t bytes = weir_weight_bytes(WEIR_LAYOUT_PANEL, dtype, n, k, gated);
    unsigned char *data = bytes == SIZE_MAX ? NULL : weir_backend_alloc(be, bytes);
    if (!data) return WEIR_ENOMEM;
    memset(data, 0, bytes);

    const weir_weight w = {.data = data, .dtype = dtype, .n = n, .k = k,
                           .n_panel = panels_of(n, gated), .k_pad = k + (k & 1), .gated = gated};
    const int64_t elem = weir_dtype_bytes(dtype), panel_bytes = w.k_pad * PANEL * elem;
    int64_t first = 0; /* output index of the part's row 0 */
    for (int p = 0; p < n_part; p++) {
        const unsigned char *src = part[p].data;
        for (int64_t r = 0; r < part[p].rows; r++) {
            const int64_t o = gated ? r : first + r;
            const int64_t panel = gated ? o / PANEL * 2 + p : o / PANEL;
            pack_row(dtype, data + panel * panel_bytes, (int)(o % PANEL), src + r * k * elem, k);
        }
        first += part[p].rows;
    }
    *out = w;
    return WEIR_OK;
}

float weir_weight_get(const weir_weight *w, int64_t n, int64_t k, bool up) {
    const int64_t panel = w->gated ? n / PANEL * 2 + (up ? 1 : 0) : n / PANEL, lane = n % PANEL;
    const unsigned char *p = w->data;
    if (w->dtype == WEIR_DTYPE_F32) {
        float f;
        memcpy(&f, p + ((panel * w->k_pad + k) * PANEL + lane) * 4, sizeof f);
        return f;
    }
    uint16_t h;
    memcpy(&h, p + ((panel * (w->k_pad / 2) + k / 2) * PANEL * 2 + lane * 2 + k % 2) * 2, sizeof h);
    return w->dtype == WEIR_DTYPE_F16 ? weir_f32_from_f16(h) : weir_f32_from_bf16(h);
}

void weir_weight_free(struct weir_backend *be, weir_weight *w) {
    if (!w) return;
    weir_backend_free(be, w->data);
    *w = (weir_weight){0};
}
