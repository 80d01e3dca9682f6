/* Which of CUDA's ways the backend takes: what the environment chooses, a trial when the device is opened,
 * and the words for it. */
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/stream.cuh"

#include <stdlib.h>
#include <time.h>

/* ---- the environment's choice -------------------------------------------------------------------------- */

namespace {

/* value: the words that are allowed, each with the ways that it leaves out. The first is the default. */
struct choice {
    const char *name;
    struct {
        const char *word;
        uint32_t without;
    } value[3];
    const char *expected;
};
constexpr choice CHOICES[] = {
    {"WEIR_PDL", {{"1", 0}, {"0", K_EARLY}, {}}, "0 or 1"},
    {"WEIR_TEAM", {{"cooperative", 0}, {"plain", K_COOPERATIVE}, {}}, "cooperative or plain"},
    {"WEIR_GRAPH",
     {{"while", 0}, {"straight", K_WHILE | K_BRANCH}, {"none", K_GRAPH | K_WHILE | K_BRANCH}},
     "while, straight or none"},
    {"WEIR_BRANCH", {{"1", 0}, {"0", K_BRANCH}, {}}, "0 or 1"},
};

const char *asked_for(const char *name) {
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

weir_status read_choice(const choice &c, uint32_t *on, weir_err *err) {
    const char *text = asked_for(c.name);
    if (!text) return WEIR_OK;
    for (const auto &v : c.value) {
        if (!v.word || strcmp(text, v.word) != 0) continue;
        *on &= ~v.without;
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_EINVAL, "%s=%.40s: expected %s", c.name, text, c.expected);
}

weir_status read_patience(double *seconds, weir_err *err) {
    const char *name = "WEIR_BLOCK_SECONDS", *text = asked_for(name);
    char *end = NULL;
    *seconds = 10.0; /* a block of the largest pair and batch takes less than one */
    if (!text) return WEIR_OK;
    const double v = strtod(text, &end);
    if (*end || !(v >= 0.0 && v <= 86400.0))
        return weir_fail(err, WEIR_EINVAL, "%s=%.40s: expected seconds, 0 (for ever) to 86400", name, text);
    *seconds = v;
    return WEIR_OK;
}

} // namespace

weir_status weir__cuda_ways_read(weir_cuda *cu, weir_err *err) {
    cu->ways.on = K_ALL_WAYS;
    for (const choice &c : CHOICES) WEIR_TRY(read_choice(c, &cu->ways.on, err));
    const char *carveout = asked_for("WEIR_CARVEOUT");
    cu->ways.carveout = carveout && strcmp(carveout, "shared") == 0;
    if (carveout && !cu->ways.carveout && strcmp(carveout, "driver") != 0)
        return weir_fail(err, WEIR_EINVAL, "WEIR_CARVEOUT=%.40s: expected driver or shared", carveout);
    return read_patience(&cu->base.patience, err);
}

/* ---- in words ------------------------------------------------------------------------------------------ */

static const char *graph_word(uint32_t on) {
    return !(on & K_GRAPH) ? "none" : on & K_WHILE ? "while" : "straight";
}

/* "; refused here: A, B (why)" of what was refused; "" if nothing was. */
static void refused_words(const weir_cuda *cu, char *text, size_t cap) {
    static const struct {
        uint32_t way;
        const char *word;
    } names[] = {{K_BRANCH, "IF nodes"},
                 {K_EARLY, "programmatic launches"},
                 {K_COOPERATIVE, "cooperative launches"},
                 {K_WHILE, "WHILE nodes"},
                 {K_GRAPH, "graphs"}};
    int n = 0;
    text[0] = '\0';
    for (const auto &a : names) {
        if (!(cu->refused & a.way)) continue;
        n += snprintf(text + n, cap - (size_t)n, "%s%s", n == 0 ? "; refused here: " : ", ", a.word);
    }
    if (n > 0 && cu->refusal.text[0]) snprintf(text + n, cap - (size_t)n, " (%.100s)", cu->refusal.text);
}

void weir__cuda_ways_tell(weir_cuda *cu) {
    const uint32_t on = cu->ways.on;
    if (!cu->device_about[0]) return; /* it is being opened */
    cu->told = on;
    cu->base.ways.graph = graph_word(on);
    cu->base.ways.team = on & K_COOPERATIVE ? "cooperative" : "plain";
    cu->base.ways.pdl = on & K_EARLY ? "on" : "off";
    char refused[256];
    refused_words(cu, refused, sizeof refused);
    char *about = cu->about[cu->n_about];
    if (cu->n_about < WEIR_CUDA_ABOUTS - 1) cu->n_about++;
    snprintf(about, sizeof cu->about[0], "%s; graph %s, team %s, pdl %s%s%s", cu->device_about,
             cu->base.ways.graph, cu->base.ways.team, cu->base.ways.pdl, refused, cu->lt_about);
    cu->base.about = about;
}

void weir__cuda_without_graphs(weir_backend *be) {
    weir_cuda *cu = weir__cuda_of(be);
    cu->ways.on &= ~static_cast<uint32_t>(K_GRAPH);
    if (cu->ways.on != cu->told) weir__cuda_ways_tell(cu);
}

void weir__cuda_give_up(weir_cuda *cu, uint32_t ways) {
    cu->refused |= cu->ways.on & ways;
    cu->ways.on &= ~ways;
}

/* ---- a trial ------------------------------------------------------------------------------------------- */

namespace {

/* What a block is made of: kernels that begin early, a team, a branch, and a loop that ends. */
__global__ void trial_step(uint64_t conditional) {
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    if (conditional) ptx::set_conditional(conditional, 0);
}

weir_status step(weir_cuda *cu, uint64_t conditional) {
    K_LAUNCH_PDL(trial_step, 1, 32, 0, cu->stream)(conditional);
    return weir__cuda_launched(&cu->base, "a trial", "a step");
}

weir_status test(void *ctx) {
    weir_cuda *cu = static_cast<weir_cuda *>(ctx);
    K_LAUNCH(trial_step, 1, 32, 0, cu->stream)(cu->branch);
    return weir__cuda_launched(&cu->base, "a trial", "a test");
}

weir_status rest(void *ctx) { return step(static_cast<weir_cuda *>(ctx), 0); }

weir_status body(void *ctx) {
    weir_cuda *cu = static_cast<weir_cuda *>(ctx);
    WEIR_TRY(step(cu, 0));
    K_LAUNCH_TEAM(trial_step, 1, 32, 0, cu->stream)(0);
    WEIR_TRY(weir__cuda_launched(&cu->base, "a trial", "a team"));
    WEIR_TRY(step(cu, 0));
    WEIR_TRY(weir__cuda_branch(&cu->base, test, rest, cu));
    K_LAUNCH(trial_step, 1, 32, 0, cu->stream)(0); /* after a branch, which is no kernel */
    WEIR_TRY(weir__cuda_launched(&cu->base, "a trial", "after a branch"));
    return step(cu, cu->conditional);
}

/* Until the trial has ended. */
weir_status ends(weir_cuda *cu) {
    const struct timespec nap = {0, 20 * 1000};
    const double since = weir_seconds();
    for (bool busy = true;;) {
        WEIR_TRY(weir__cuda_poll(&cu->base, &busy));
        if (!busy) return WEIR_OK;
        if (cu->base.patience > 0.0 && weir_seconds() - since > cu->base.patience) break;
        nanosleep(&nap, NULL);
    }
    weir__cuda_abandon(&cu->base, "a graph of five small kernels does not end; WEIR_GRAPH=straight or none "
                                  "asks for less");
    return WEIR_ECUDA;
}

} // namespace

weir_status weir__cuda_ways_try(weir_cuda *cu) {
    if (k_code<trial_step>(cu->ways.carveout) < 90) cu->ways.on &= ~static_cast<uint32_t>(K_EARLY);
    const weir_status s = weir__cuda_try(cu, body, ends);
    return s == WEIR_ENOTSUP ? WEIR_OK : s; /* ops are called one by one */
}
