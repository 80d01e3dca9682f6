#ifndef WEIR_KERNELS_BASE_STATUS_H
#define WEIR_KERNELS_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/* Every fallible function returns one of these; 0 is success, negatives are failures. The table is the only
 * place that lists a code, its value and its text. */
#define WEIR_STATUS_MAP(X)                                          \
    X(OK, 0, "ok")                                                  \
    X(EINVAL, -1, "invalid argument")                               \
    X(ENOMEM, -2, "out of host memory")                             \
    X(EDEVMEM, -3, "out of device memory")                          \
    X(ENOTSUP, -4, "not supported")                                 \
    X(EFORMAT, -5, "malformed file")                                \
    X(EIO, -6, "i/o error")                                         \
    X(ECUDA, -7, "cuda runtime error")                              \
    X(ECOMM, -8, "a rank of the group has failed")                  \
    X(ECANCELED, -9, "cancelled")                                   \
    X(ETOOLONG, -10, "longer than the context")                     \
    X(EMISMATCH, -11, "drafter and verifier do not fit each other") \
    X(ELOGITS, -12, "logits are not finite")                        \
    X(EPAGES, -13, "no free pages of keys and values")              \
    X(EBUSY, -14, "as many requests as may wait")

typedef enum weir_status {
#define WEIR_STATUS_ENUM(name, value, text) WEIR_##name = value,
    WEIR_STATUS_MAP(WEIR_STATUS_ENUM)
#undef WEIR_STATUS_ENUM
} weir_status;

/* What ends an engine for good: a lost device, a broken group of ranks. */
static inline bool weir__is_lost(weir_status s) { return s == WEIR_ECUDA || s == WEIR_ECOMM; }

/* One line for the user: what is wrong, where, what was expected. Every call that can fail on
 * the user's input takes a `weir_err *` (NULL is allowed) and fills it when it fails. */
typedef struct weir_err {
    char text[512];
} weir_err;

#ifdef __cplusplus
extern "C" {
#endif

/* Static string, never NULL, for any value. */
const char *weir_status_str(weir_status s);

/* Writes the text (cut at the buffer's end; control characters become '?') and returns s, so that
 * `return weir_fail(err, WEIR_EIO, "…", …);` is the whole failure path. err may be NULL. */
weir_status weir_fail(weir_err *err, weir_status s, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#ifdef __cplusplus
}
#endif

/* Return the first failure to the caller. For functions that own nothing yet. */
#define WEIR_TRY(call)                          \
    do {                                        \
        weir_status weir_s_ = (call);           \
        if (weir_s_ != WEIR_OK) return weir_s_; \
    } while (0)

#endif /* WEIR_KERNELS_BASE_STATUS_H */
