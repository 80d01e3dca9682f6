#include "host/cli/io/totals.h"

#include <math.h>
#include <stdio.h>

#include "host/wire/answer.h"

/* 0 / 0 is "there was none": NaN here, n/a on the screen. */
static double ratio(double a, double b) { return b > 0 ? a / b : (double)NAN; }

void cli_totals_add(cli_totals *t, const weir_session_options *o, const weir_session_view *v) {
    const weir_session_stats *s = &v->stats;
    weir_session_stats *u = &t->sum;
    t->answers++;
    t->stopped += v->finish == WEIR_FINISH_STOP;
    t->at_limit += v->finish == WEIR_FINISH_LENGTH;
    t->cancelled += v->finish == WEIR_FINISH_CANCELLED;
    t->settled += s->settled;
    if (o->method == WEIR_METHOD_SPECULATIVE && o->n_draft > t->gamma) t->gamma = o->n_draft;
    t->chosen |= o->method == WEIR_METHOD_SPECULATIVE && o->n_draft == WEIR_GAMMA_AUTO;
    u->n_prompt += s->n_prompt;
    u->n_output += (int64_t)v->n;
    u->blocks += s->blocks;
    u->drafted += s->drafted;
    u->accepted += s->accepted;
    u->kept += s->kept;
    u->resampled += s->resampled;
    u->bonus += s->bonus;
    u->from_drafter += s->from_drafter;
    u->from_verifier += s->from_verifier;
    u->rows_examined += s->rows_examined;
    u->rows_deferred += s->rows_deferred;
    u->reject_mass += s->reject_mass;
    u->verifier_calls += s->verifier_calls;
    u->verifier_rows += s->verifier_rows;
    u->drafter_calls += s->drafter_calls;
    u->drafter_rows += s->drafter_rows;
    for (int i = 0; i <= WEIR_GAMMA_MAX; i++) {
        u->accept_hist[i] += s->accept_hist[i];
        u->draft_hist[i] += s->draft_hist[i];
    }
    u->seconds_prefill += s->seconds_prefill;
    u->seconds_draft += s->seconds_draft;
    u->seconds_verify += s->seconds_verify;
    u->seconds_accept += s->seconds_accept;
    u->seconds_total += s->seconds_total;
    u->seconds_first += s->seconds_first;
}

static void line_real(const char *name, double x, const char *unit) {
    if (isnan(x))
        fprintf(stderr, "  %-24s n/a\n", name);
    else
        fprintf(stderr, "  %-24s %.4g%s\n", name, x, unit);
}

static void line_counts(const char *name, const int64_t *count, int most) {
    fprintf(stderr, "  %-24s", name);
    for (int i = 0; i <= most; i++) fprintf(stderr, " %lld", (long long)count[i]);
    fputc('\n', stderr);
}

static void print_choice(const cli_totals *t, int most) {
    line_counts("drafts 0, 1 ...", t->sum.draft_hist, most);
    fprintf(stderr, "  %-24s %lld\n", "answers that settled", (long long)t->settled);
}

void cli_totals_print(const cli_totals *t) {
    const weir_session_stats *s = &t->sum;
    double n = (double)s->n_output, rows = (double)s->rows_examined, answers = (double)t->answers;
    fprintf(stderr, "  %-24s %lld (%lld stop, %lld length, %lld cancelled)\n", "answers",
            (long long)t->answers, (long long)t->stopped, (long long)t->at_limit, (long long)t->cancelled);
    fprintf(stderr, "  %-24s %lld prompt, %lld output\n", "tokens", (long long)s->n_prompt,
            (long long)s->n_output);
    line_real("speed", ratio(n, t->seconds), " tokens/s");
    line_real("first token", 1e3 * ratio(s->seconds_first, answers), " ms on average");
    line_real("verifier calls", ratio((double)s->verifier_calls, n), " per token");
    if (s->blocks > 0) {
        const int most = wire_most_drafts(s, t->gamma);
        fprintf(stderr, "  %-24s %lld at gamma %d%s\n", "blocks", (long long)s->blocks, most,
                t->chosen ? " or less" : "");
        line_real("mean acceptance length", 1 + ratio((double)s->accepted, (double)s->blocks),
                  " tokens per block");
        line_real("acceptance rate", 100 * ratio((double)s->accepted, (double)s->drafted),
                  "% of drafted tokens");
        line_counts("accepted drafts 0, 1 ...", s->accept_hist, most);
        if (t->chosen) print_choice(t, most);
    }
    if (s->rows_examined > 0) {
        const double rejected = 100 * ratio(s->reject_mass, rows);
        if (isnan(rejected)) /* it costs a pass, so who wants it asks for it */
            fprintf(stderr, "  %-24s n/a (see --measure-rejection)\n", "rejection rate");
        else
            line_real("rejection rate", rejected, "% of examined rows");
        line_real("deferral rate", 100 * ratio((double)s->rows_deferred, rows), "% of examined rows");
    }
    fprintf(stderr,
            "  %-24s %lld kept, %lld accepted, %lld resampled, %lld bonus, %lld drafter, %lld verifier\n",
            "sources", (long long)s->kept, (long long)wire_agreed(s), (long long)s->resampled,
            (long long)s->bonus, (long long)s->from_drafter, (long long)s->from_verifier);
    fprintf(stderr, "  %-24s %.3f prefill, %.3f draft, %.3f verify, %.3f accept, %.3f wall clock\n",
            "seconds", s->seconds_prefill, s->seconds_draft, s->seconds_verify, s->seconds_accept,
            t->seconds);
}
