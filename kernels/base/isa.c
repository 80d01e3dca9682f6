#include "kernels/base/isa.h"

#include <string.h>

static const char *const names[] = {
    [WEIR_ISA_PORTABLE] = "portable",
    [WEIR_ISA_AVX2] = "avx2",
    [WEIR_ISA_AVX512] = "avx512",
    [WEIR_ISA_AVX512BF16] = "avx512bf16",
};
enum { N_NAME = sizeof names / sizeof names[0] };

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
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") ? WEIR_ISA_AVX512BF16
                                                                                        : WEIR_ISA_AVX512;
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
