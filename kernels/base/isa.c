#include "kernels/base/isa.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[] = {
    [WEIR_ISA_PORTABLE] = "portable",     [WEIR_ISA_AVX2] = "avx2", [WEIR_ISA_AVX512] = "avx512",
    [WEIR_ISA_AVX512BF16] = "avx512bf16", [WEIR_ISA_AMX] = "amx",
};
enum { N_NAME = sizeof names / sizeof names[0] };

#if defined(__x86_64__) && defined(__linux__)
/* Tiles are 8 KB of registers that the kernel saves for a process only once it has asked for them; threads
 * inherit the permission. It is refused where an alternate signal stack is too small for them. */
static bool has_tiles(void) {
    enum {
        LEAF = 7,
        BF16 = 1 << 22,
        TILE = 1 << 24,
        INT8 = 1 << 25,
        REQUEST_PERMISSION = 0x1023,
        TILE_DATA = 18
    };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(LEAF, 0, &a, &b, &c, &d)) return false;
    if ((d & BF16) == 0 || (d & TILE) == 0 || (d & INT8) == 0) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#elif defined(__x86_64__)
static bool has_tiles(void) { return false; }
#endif

/* __builtin_cpu_supports asks the processor and, for the wide registers, whether the operating system
 * saves them. */
weir_isa weir__isa_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return WEIR_ISA_PORTABLE;
#if defined(__clang__) && __clang_major__ < 19
        /* The compiler does not know the name f16c; every processor with AVX2 has it. */
#else
    if (!__builtin_cpu_supports("f16c")) return WEIR_ISA_PORTABLE;
#endif
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
        return WEIR_ISA_AVX2;
    }
    if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vnni"))
        return WEIR_ISA_AVX512;
    return has_tiles() ? WEIR_ISA_AMX : WEIR_ISA_AVX512BF16;
#else
    return WEIR_ISA_PORTABLE;
#endif
}

const char *weir__isa_name(weir_isa isa) {
    const unsigned i = (unsigned)isa;
    return i < N_NAME ? names[i] : "unknown";
}

int weir__isa_parse(const char *name) {
    for (int i = 0; i < N_NAME; i++) {
        if (strcmp(name, names[i]) == 0) return i;
    }
    return -1;
}
