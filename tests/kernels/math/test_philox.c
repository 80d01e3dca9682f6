#include <criterion/criterion.h>

#include "kernels/math/philox.h"

/* The known answers that Random123 publishes for philox4x32-10. */
Test(philox, gives_the_published_words) {
    const struct {
        uint32_t counter[4], key[2], want[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof kat[0]; i++) {
        uint32_t c[4];
        memcpy(c, kat[i].counter, sizeof c);
        wf_philox(c, kat[i].key);
        for (int k = 0; k < 4; k++) cr_expect(c[k] == kat[i].want[k], "vector %zu word %d: %08x", i, k, c[k]);
    }
}

Test(philox, every_counter_word_and_key_word_matters) {
    const uint32_t zero_key[2] = {0, 0};
    uint32_t base[4] = {0, 0, 0, 0};
    wf_philox(base, zero_key);
    for (int bit = 0; bit < 192; bit++) {
        uint32_t c[4] = {0, 0, 0, 0}, key[2] = {0, 0};
        if (bit < 128)
            c[bit / 32] = 1u << bit % 32;
        else
            key[(bit - 128) / 32] = 1u << bit % 32;
        wf_philox(c, key);
        int same = 0;
        for (int k = 0; k < 4; k++) same += c[k] == base[k];
        cr_expect(same == 0, "bit %d leaves %d words as they were", bit, same);
    }
}
