#include "tests/support/build.h"

#if defined(__SANITIZE_THREAD__)
enum { TSAN = 1, SANITIZED = 1 };
#elif defined(__SANITIZE_ADDRESS__)
enum { TSAN = 0, SANITIZED = 1 };
#else
enum { TSAN = 0, SANITIZED = 0 };
#endif

bool build_is_sanitized(void) { return SANITIZED; }
bool build_is_tsan(void) { return TSAN; }

bool in_sample(int i, int nth) { return !TSAN || i % nth == 0; }
