#include <math.h>

#include "models/encdec/t5.h"

/* Half of the buckets are exact distances, the other half grow with the logarithm up to max_distance.
 * transformers takes the logarithm in f32 and divides by an f32; a double here would move distances that lie
 * on a bucket's edge. */
static int32_t log_bucket(int64_t distance, int32_t n_bucket, int32_t max_distance) {
    const int32_t exact = n_bucket / 2;
    if (distance < exact) return (int32_t)distance;
    if (distance >= max_distance) return n_bucket - 1;
    const float ratio = (float)log((double)((float)distance / (float)exact));
    const float span = (float)log((double)max_distance / (double)exact);
    const int64_t b = exact + (int64_t)(ratio / span * (float)(n_bucket - exact));
    return b < n_bucket ? (int32_t)b : n_bucket - 1;
}

int32_t weir__t5_bucket(int64_t distance, bool bidirectional, int32_t n_bucket, int32_t max_distance) {
    if (!bidirectional) return log_bucket(distance < 0 ? -distance : 0, n_bucket, max_distance);
    const int32_t half = n_bucket / 2;
    return (distance > 0 ? half : 0) + log_bucket(distance < 0 ? -distance : distance, half, max_distance);
}

void weir__t5_bias_table(const weir_tensor *w, int32_t left, int32_t right, int32_t max_distance,
                         float *out) {
    const int64_t width = (int64_t)left + 1 + right;
    for (int64_t i = 0; i < width; i++) {
        const int32_t b = weir__t5_bucket(i - left, right > 0, (int32_t)w->rows, max_distance);
        for (int64_t h = 0; h < w->cols; h++) out[h * width + i] = weir_tensor_get(w, b, h);
    }
}
