#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/cli.h"

static const char *const role[] = {"verifier", "drafter"};

/* ---- the table ----------------------------------------------------------------------------------------- */

static void bytes_line(const char *name, size_t bytes) {
    double mib = (double)bytes / (1024.0 * 1024.0);
    cli_outf("  %-24s %12zu bytes  %10.2f MiB\n", name, bytes, mib);
}

static void available_line(size_t bytes) {
    if (bytes > 0)
        bytes_line("available", bytes);
    else
        cli_outf("  %-24s unknown\n", "available");
}

/* available 0: unknown. A plan that is known not to fit one of the memories does not fit. */
static bool fits(const weir_engine_facts *f) {
    return (f->available == 0 || f->plan_total <= f->available) &&
           (f->host_available == 0 || f->host_total <= f->host_available);
}
static bool fits_known(const weir_engine_facts *f) {
    return !fits(f) || (f->available > 0 && (f->isa || f->host_available > 0));
}

/* Position encoding and attention window of a model with rotary embeddings. */
static void print_positions(const weir_engine_facts *f, int i) {
    if (f->window[i] > 0)
        cli_outf("  %-24s %d positions in %d layers\n", "sliding window", f->window[i],
                 f->n_layer_sliding[i]);
    cli_outf("  %-24s %s, base %.6g", "rotary embeddings", f->rope[i], (double)f->rope_theta[i]);
    if (f->rope_factor[i] > 1.0f) cli_outf(", factor %.6g", (double)f->rope_factor[i]);
    if (f->window[i] > 0 && f->rope_theta_sliding[i] != f->rope_theta[i])
        cli_outf(", base %.6g where layers slide", (double)f->rope_theta_sliding[i]);
    cli_outf("\n");
    if (f->n_ctx_train[i] > 0) cli_outf("  %-24s %d positions\n", "trained context", f->n_ctx_train[i]);
}

/* An encoder of sizes of its own. */
static void print_encoder(const weir_engine_facts *f, int i) {
    cli_outf("  %-24s %d, feed-forward %d\n", "encoder's width", f->dim_enc[i], f->ff_dim_enc[i]);
    cli_outf("  %-24s %d of %d, %d of keys and values\n", "encoder's heads", f->n_head_enc[i],
             f->head_dim_enc[i], f->n_head_kv_enc[i]);
}

static void print_experts(const weir_engine_facts *f, int i) {
    if (f->n_expert[i] == 0) return;
    cli_outf("  %-24s %d, %d a token, feed-forward %d", "experts", f->n_expert[i], f->n_expert_used[i],
             f->expert_ff[i]);
    if (f->shared_ff[i] > 0) cli_outf(", shared %d", f->shared_ff[i]);
    cli_outf("\n");
}

static void print_model(const weir_engine_facts *f, int i) {
    cli_outf("%s\n", role[i]);
    cli_outf("  %-24s %s\n", "family", f->family[i]);
    cli_outf("  %-24s %lld (%s)\n", "parameters", (long long)f->n_param[i], f->dtype[i]);
    if (f->quantized[i])
        cli_outf("  %-24s %s: %d matrices, %d stay as in the file; %s\n", "quantised at load",
                 f->quantized[i], (int)f->n_quantized[i], (int)f->n_unquantized[i],
                 !f->n_quantized[i] ? "nothing changes"
                 : i                ? "under rule exact only the speed changes"
                                    : "another law than the file's");
    if (f->encoder_decoder)
        cli_outf("  %-24s %d encoder, %d decoder\n", "layers", f->n_layer_enc[i], f->n_layer_dec[i]);
    else
        cli_outf("  %-24s %d\n", "layers", f->n_layer_dec[i]);
    cli_outf("  %-24s %d, feed-forward %d\n", "width", f->dim[i], f->ff_dim[i]);
    print_experts(f, i);
    cli_outf("  %-24s %d of %d", "heads", f->n_head[i], f->head_dim[i]);
    if (f->n_head_kv[i] != f->n_head[i]) cli_outf(", %d of keys and values", f->n_head_kv[i]);
    cli_outf("\n");
    if (f->dim_enc[i] > 0) print_encoder(f, i);
    if (f->rope[i]) print_positions(f, i);
    cli_outf("  %-24s %d rows\n", "embedding", f->n_vocab_rows[i]);
}

static void print_ids(const weir_engine_facts *f) {
    cli_outf("  %-24s", "end-of-text ids");
    for (int i = 0; i < f->n_eos; i++) cli_outf(" %d", f->eos[i]);
    cli_outf("\n");
    if (f->encoder_decoder) cli_outf("  %-24s %d\n", "decoder start id", f->start_id);
    if (f->bos_id >= 0 && (f->add_bos || !f->encoder_decoder))
        cli_outf("  %-24s %d%s\n", "start-of-text id", f->bos_id, f->add_bos ? "" : " (not added)");
    if (f->chat_template)
        cli_outf("  %-24s %s\n", "chat template", f->chat_template);
    else
        cli_outf("  %-24s none: %s\n", "chat template", f->chat_note);
}

/* ---- ranks --------------------------------------------------------------------------------------------- */

static double mib(size_t bytes) { return (double)bytes / (1024.0 * 1024.0); }

/* "2-3" of heads, columns or ids; "-": none. */
static const char *range(char buf[48], int64_t first, int64_t n) {
    if (n > 0)
        snprintf(buf, 48, "%lld-%lld", (long long)first, (long long)(first + n - 1));
    else
        snprintf(buf, 48, "-");
    return buf;
}

static void print_shares(const weir_engine_facts *f, int i) {
    const bool mixes = f->n_expert[i] > 0;
    cli_outf("ranks of the %s\n  %4s %12s %6s %9s %15s %12s%s\n", role[i], "rank", "q heads", "KV", "ff",
             "ids", "weights MiB", mixes ? "      experts" : "");
    for (int r = 0; r < f->n_rank; r++) {
        const weir_rank_plan *p = &f->rank_plan[r];
        char heads[48], ids[48], experts[48];
        cli_outf("  %4d %12s %6d %9lld %15s %12.2f", r, range(heads, p->head[i], p->n_head[i]),
                 p->n_head_kv[i], (long long)p->n_ff[i], range(ids, p->id[i], p->n_id[i]),
                 mib(p->weights[i]));
        if (mixes) cli_outf(" %12s", range(experts, p->expert[i], p->n_expert[i]));
        cli_outf("\n");
    }
}

/* A verify has gamma + 1 rows, a draft one. */
static void print_exchanges(const weir_engine_facts *f, int i) {
    const int rows = i ? 1 : f->max_draft + 1;
    cli_outf("  %-24s %d exchanges, %.1f KiB to each other rank (%d rows)\n", i ? "a draft" : "a verify",
             f->exchanges[i], (double)(f->exchange_row[i] * (size_t)rows) / 1024.0, rows);
}

static void print_draft_place(const weir_engine_facts *f) {
    cli_outf("  %-24s ", "drafter's layers");
    if (f->draft_choice)
        cli_outf("auto: %s; here whole on every rank, which takes the most\n", f->draft_choice);
    else
        cli_outf("%s\n",
                 f->draft_rank == 1 ? "whole on every rank (--draft-tp 1)" : "shared out, as the verifier's");
}

static void print_ranks(const weir_engine_facts *f) {
    for (int i = 0; i <= (int)f->has_draft; i++) print_shares(f, i);
    cli_outf("memory of each rank, MiB\n  %4s %12s %12s %12s %12s %12s\n", "rank", "weights", "KV", "scratch",
             "exchange", "total");
    for (int r = 0; r < f->n_rank; r++) {
        const weir_rank_plan *p = &f->rank_plan[r];
        cli_outf("  %4d %12.2f %12.2f %12.2f %12.2f %12.2f\n", r, mib(p->weights[0] + p->weights[1]),
                 mib(p->kv), mib(p->scratch), mib(p->exchange), mib(p->total));
    }
    for (int i = 0; i <= (int)f->has_draft; i++) print_exchanges(f, i);
    if (f->has_draft) print_draft_place(f);
    if (f->isa) cli_outf("  %-24s ranks on one CPU wait for each other: slower than -tp 1\n", "note");
}

static void print_table(const weir_engine_facts *f) {
    int n = f->has_draft ? 2 : 1;
    for (int i = 0; i < n; i++) print_model(f, i);
    if (f->draft == WEIR_DRAFT_LOOKUP)
        cli_outf("drafter: " WEIR_NGRAM "\n  %-24s suffixes of %d to %d tokens\n", "prompt lookup",
                 f->lookup_min, f->lookup_max);
    if (f->apart)
        cli_outf("  %-24s its text in the verifier's tokens%s; %s\n", "drafts",
                 f->n_rank > 1 ? ", made on rank 0" : "", f->apart);
    cli_outf("both\n  %-24s %d tokens%s\n", "vocabulary", f->n_vocab,
             f->has_tokenizer ? "" : " (no tokenizer)");
    print_ids(f);
    char device[420];
    cli_device_text(f, device, sizeof device);
    cli_outf("  %-24s %s\n", "device", device);
    cli_outf("  %-24s %d session%s of %d positions, gamma up to %d\n", "room", f->n_parallel,
             f->n_parallel == 1 ? "" : "s", f->ctx_size, f->max_draft);
    cli_outf("memory plan%s%s%s\n", f->isa ? "" : ", ", f->isa ? "" : f->device,
             f->n_rank == 1 ? ""
             : f->isa       ? " (rank 0; the total is that of all ranks)"
                            : " (rank 0; the total is that of all ranks on its device)");
    for (int i = 0; i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, "weights, %s", role[i]);
        bytes_line(name, f->weights[i]);
    }
    for (int i = 0; i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, "KV per session, %s", role[i]);
        bytes_line(name, f->kv_per_session[i]);
    }
    bytes_line("KV of all sessions", f->kv_total);
    bytes_line("scratch", f->scratch);
    bytes_line("total", f->plan_total);
    available_line(f->available);
    if (!f->isa) {
        bytes_line("host memory beside it", f->host_total);
        available_line(f->host_available);
    }
    cli_outf("  %-24s %s\n", "fits", fits_known(f) ? fits(f) ? "yes" : "no" : "unknown");
    if (f->n_rank > 1) print_ranks(f);
}

static json_t *size_json(size_t bytes) { return json_integer((json_int_t)bytes); }

static json_t *rank_json(const weir_engine_facts *f, int r) {
    const weir_rank_plan *p = &f->rank_plan[r];
    json_t *o = json_object();
    for (int i = 0; i <= (int)f->has_draft; i++) {
        json_t *m = json_object();
        wire_set(m, "head", json_integer(p->head[i]));
        wire_set(m, "n_head", json_integer(p->n_head[i]));
        wire_set(m, "n_head_kv", json_integer(p->n_head_kv[i]));
        wire_set(m, "n_ff", json_integer((json_int_t)p->n_ff[i]));
        if (f->n_expert[i] > 0) {
            wire_set(m, "expert", json_integer(p->expert[i]));
            wire_set(m, "n_expert", json_integer(p->n_expert[i]));
        }
        wire_set(m, "id", json_integer((json_int_t)p->id[i]));
        wire_set(m, "n_id", json_integer((json_int_t)p->n_id[i]));
        wire_set(m, "weights_bytes", size_json(p->weights[i]));
        wire_set(o, role[i], m);
    }
    wire_set(o, "kv_bytes", size_json(p->kv));
    wire_set(o, "scratch_bytes", size_json(p->scratch));
    wire_set(o, "exchange_bytes", size_json(p->exchange));
    wire_set(o, "total_bytes", size_json(p->total));
    return o;
}

static json_t *ranks_json(const weir_engine_facts *f) {
    json_t *all = json_array();
    for (int r = 0; r < f->n_rank; r++) wire_add(all, rank_json(f, r));
    return all;
}

/* ---- the object ---------------------------------------------------------------------------------------- */

static json_t *known_json(size_t bytes) { return bytes > 0 ? size_json(bytes) : json_null(); }

static void set_positions(json_t *m, const weir_engine_facts *f, int i) {
    wire_set(m, "window", f->window[i] > 0 ? json_integer(f->window[i]) : json_null());
    wire_set(m, "n_layer_sliding", json_integer(f->n_layer_sliding[i]));
    wire_set(m, "n_ctx_train", f->n_ctx_train[i] > 0 ? json_integer(f->n_ctx_train[i]) : json_null());
    wire_set(m, "rope", json_string(f->rope[i]));
    wire_set(m, "rope_theta", wire_real((double)f->rope_theta[i]));
    wire_set(m, "rope_factor", wire_real((double)f->rope_factor[i]));
    wire_set(m, "rope_theta_sliding",
             f->window[i] > 0 ? wire_real((double)f->rope_theta_sliding[i]) : json_null());
}

static void set_encoder(json_t *m, const weir_engine_facts *f, int i) {
    wire_set(m, "dim_enc", json_integer(f->dim_enc[i]));
    wire_set(m, "ff_dim_enc", json_integer(f->ff_dim_enc[i]));
    wire_set(m, "n_head_enc", json_integer(f->n_head_enc[i]));
    wire_set(m, "n_head_kv_enc", json_integer(f->n_head_kv_enc[i]));
    wire_set(m, "head_dim_enc", json_integer(f->head_dim_enc[i]));
}

static json_t *model_json(const weir_engine_facts *f, int i) {
    json_t *m = json_object();
    wire_set(m, "family", wire_text(f->family[i], strlen(f->family[i])));
    wire_set(m, "parameters", json_integer((json_int_t)f->n_param[i]));
    wire_set(m, "dtype", json_string(f->dtype[i]));
    wire_set(m, "quantized", wire_quantized_json(f, i));
    wire_set(m, "n_layer_enc", json_integer(f->n_layer_enc[i]));
    wire_set(m, "n_layer_dec", json_integer(f->n_layer_dec[i]));
    wire_set(m, "dim", json_integer(f->dim[i]));
    wire_set(m, "ff_dim", json_integer(f->ff_dim[i]));
    wire_set(m, "n_expert", json_integer(f->n_expert[i]));
    wire_set(m, "n_expert_used", json_integer(f->n_expert_used[i]));
    wire_set(m, "expert_ff", json_integer(f->expert_ff[i]));
    wire_set(m, "shared_ff", json_integer(f->shared_ff[i]));
    wire_set(m, "n_head", json_integer(f->n_head[i]));
    wire_set(m, "n_head_kv", json_integer(f->n_head_kv[i]));
    wire_set(m, "head_dim", json_integer(f->head_dim[i]));
    if (f->dim_enc[i] > 0) set_encoder(m, f, i);
    if (f->rope[i]) set_positions(m, f, i);
    wire_set(m, "n_vocab_rows", json_integer(f->n_vocab_rows[i]));
    wire_set(m, "weights_bytes", size_json(f->weights[i]));
    wire_set(m, "exchanges", json_integer(f->exchanges[i]));
    wire_set(m, "exchange_row_bytes", size_json(f->exchange_row[i]));
    wire_set(m, "kv_per_session_bytes", size_json(f->kv_per_session[i]));
    return m;
}

static json_t *plan_json(const weir_engine_facts *f) {
    json_t *p = json_object();
    wire_set(p, "kv_bytes", size_json(f->kv_total));
    wire_set(p, "scratch_bytes", size_json(f->scratch));
    wire_set(p, "total_bytes", size_json(f->plan_total));
    wire_set(p, "available_bytes", known_json(f->available));
    wire_set(p, "host_bytes", f->isa ? json_null() : size_json(f->host_total));
    wire_set(p, "host_available_bytes", f->isa ? json_null() : known_json(f->host_available));
    wire_set(p, "fits", fits_known(f) ? json_boolean(fits(f)) : json_null());
    return p;
}

static int print_json(const weir_engine_facts *f) {
    json_t *out = json_object();
    wire_set(out, "verifier", model_json(f, 0));
    wire_set(out, "drafter", f->has_draft ? model_json(f, 1) : json_null());
    wire_set(out, "drafts", json_string(weir_draft_facts(f->draft)->name));
    wire_set(out, "prompt_lookup", wire_lookup_json(f));
    wire_set(out, "n_vocab", json_integer(f->n_vocab));
    wire_set(out, "eos", wire_ids(f->eos, (size_t)f->n_eos));
    wire_set(out, "start_id", f->start_id >= 0 ? json_integer(f->start_id) : json_null());
    if (f->rope[0]) {
        wire_set(out, "bos_id", f->bos_id >= 0 ? json_integer(f->bos_id) : json_null());
        wire_set(out, "add_bos", json_boolean(f->add_bos));
    }
    wire_set(out, "chat_template", f->chat_template ? json_string(f->chat_template) : json_null());
    wire_set(out, "has_tokenizer", json_boolean(f->has_tokenizer));
    wire_set(out, "encoder_decoder", json_boolean(f->encoder_decoder));
    wire_set_device(out, f);
    wire_set(out, "parallel", json_integer(f->n_parallel));
    wire_set(out, "ctx_size", json_integer(f->ctx_size));
    wire_set(out, "max_draft", json_integer(f->max_draft));
    wire_set(out, "memory", plan_json(f));
    wire_set(out, "ranks", f->n_rank > 1 ? ranks_json(f) : json_null());
    return cli_json_write(out, NULL);
}

int cli_info(const cli_args *a) {
    weir_engine *e = NULL;
    int rc = cli_open(a, true, &e);
    if (rc) return rc;
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    if (cli_flag(a, OPT_JSON))
        rc = print_json(&f);
    else
        print_table(&f);
    weir_engine_close(e);
    return rc;
}
