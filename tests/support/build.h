#ifndef WEIR_TESTS_SUPPORT_BUILD_H
#define WEIR_TESTS_SUPPORT_BUILD_H

#include <stdbool.h>

/* Which build a test is in. Code under a sanitizer takes 3 to 30 times as long, and what a sanitizer looks
 * for, a race or an overrun, is in the smallest shape of its kind: values, laws and every combination of
 * shapes are looked at in the release build. */
bool build_is_sanitized(void); /* ASan or TSan */
bool build_is_tsan(void);

/* For the loops of a test: true, and under TSan for every nth i alone. Where i % 2 and the like choose a
 * shape, nth is prime to it. */
bool in_sample(int i, int nth);

#endif
