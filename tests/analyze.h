/* What gcc's -fanalyzer cannot see across files; tests/lint.sh puts this before every file that it analyses.
 * weir_fail returns the status it was given, which is never WEIR_OK; what the allocating calls return is
 * given back by weir_free, so that a double free, a use after it and an unchecked NULL are found. (Leaks are
 * not its business: gcc 12 loses sight of pointers that are kept in structs; the failing-allocation tests and
 * LeakSanitizer look for them.) */
#include "kernels/base/mem.h"
#include "kernels/base/status.h"

#define FREED_BY_WEIR_FREE __attribute__((malloc, malloc(weir_free, 1)))
FREED_BY_WEIR_FREE void *weir_alloc(size_t n, size_t size);
FREED_BY_WEIR_FREE void *weir_calloc(size_t n, size_t size);
FREED_BY_WEIR_FREE char *weir_strdup(const char *s);

#define weir_fail(err, code, ...) ((void)(weir_fail)((err), (code), __VA_ARGS__), (code))
