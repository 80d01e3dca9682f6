/* Criterion's test processes inherit an arena that its sandbox maps at a fixed random address, base +
 * (rand_r() << 24) with base 2^45. ThreadSanitizer on x86-64 lets a program map 0x550000000000 to
 * 0x568000000000 of that range and no more, so all but a few starts would die with "could not initialize
 * inheritable arena". This rand_r is found before libc's and lands in the part of that window that
 * position-independent programs and their heaps, which begin below 0x565600000000, leave free. Only
 * libcriterion calls it; other builds do not link it. */
int rand_r(unsigned *seed);

enum { FIRST = (0x567000000000 - 0x200000000000) >> 24, COUNT = 256 };

int rand_r(unsigned *seed) {
    *seed = *seed * 1103515245u + 12345u;
    return FIRST + (int)((*seed >> 16) % COUNT);
}
