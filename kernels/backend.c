#include "kernels/backend.h"

void weir__backend_close(weir_backend *be) {
    if (be) be->stream->close(be);
}

weir_status weir__backend_reserve(weir_backend *be, size_t floats) {
    return be ? be->stream->reserve(be, floats) : WEIR_EINVAL;
}

void *weir__backend_alloc(weir_backend *be, size_t bytes) { return be->stream->alloc(be, bytes); }

void weir__backend_free(weir_backend *be, void *p) { be->stream->free(be, p); }

weir_status weir__backend_upload(weir_backend *be, void *dst, const void *src, size_t bytes) {
    return be->stream->upload(be, dst, src, bytes);
}

weir_status weir__backend_download(weir_backend *be, void *dst, const void *src, size_t bytes) {
    return be->stream->download(be, dst, src, bytes);
}

weir_status weir__backend_zero(weir_backend *be, void *p, size_t bytes) {
    return be->stream->zero(be, p, bytes);
}

weir_status weir__backend_failure(weir_backend *be, weir_err *err) {
    return weir_fail(err, WEIR_ECUDA, "%s",
                     be->err.text[0] ? be->err.text : "the device failed without a word");
}
