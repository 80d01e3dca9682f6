/* Prompt lookup inside the block loop of a device: blocks called one by one and recorded ones, alone and
 * together, give the same answers; greedy ones are the verifier's own. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/deck/loop/lookup_cases.h"
#include "tests/support/build.h"
#include "tests/support/device.h"

static weir_engine *open_device(lookup_kind kind, int n_parallel, bool no_graph) {
    weir__backend_close(device_open()); /* skips, or fails, where there is none */
    return lookup_open(kind, true, WEIR_NGRAM, "cuda:0", n_parallel, no_graph);
}

static void together(lookup_kind kind, int n_parallel, bool called_alone, bool called_together) {
    static const int steps[] = {1000};
    weir_engine *one = open_device(kind, 1, called_alone);
    weir_engine *many = open_device(kind, n_parallel, called_together);
    lookup_same_together(one, many, n_parallel, build_is_tsan() ? 3 : 10, steps, 1);
    weir_engine_close(many);
    weir_engine_close(one);
}

Test(cuda_prompt_lookup, t5_called_alone_and_recorded_together) { together(LOOKUP_T5, 3, true, false); }
Test(cuda_prompt_lookup, decoders_recorded_alone_and_together) { together(LOOKUP_DECODER, 2, false, false); }

Test(cuda_prompt_lookup, greedy_is_the_verifier_alone) {
    static answer want, got;
    int64_t accepted = 0;
    weir_session_options o = weir_session_options_default();
    o.law.temp = 0.0f;
    o.max_tokens = 20;
    o.ignore_eos = true;
    weir_engine *e = open_device(LOOKUP_DECODER, 1, false);
    for (int prompt = 0; prompt < 3; prompt++) {
        o.method = WEIR_METHOD_VERIFIER;
        lookup_run(e, &o, prompt, 1000, &want);
        o.method = WEIR_METHOD_SPECULATIVE;
        for (int gamma = 1; gamma <= 5; gamma += 4) {
            o.n_draft = gamma;
            lookup_run(e, &o, prompt, 1000, &got);
            cr_assert(want.n == got.n && memcmp(want.ids, got.ids, got.n * sizeof *got.ids) == 0,
                      "prompt %d, gamma %d", prompt, gamma);
            cr_assert_eq(got.stats.drafter_calls, 0);
            accepted += got.stats.accepted;
        }
    }
    cr_assert(accepted > 0, "no draft was accepted");
    weir_engine_close(e);
}
