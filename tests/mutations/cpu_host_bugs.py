"""Bugs in the engine: caches, sessions, steps, blocks, methods, text, plans, scores, replay, pairs."""
from entry import cpu_bug as bug

KV = [
    bug("host/deck/kv.c", "off by one", "a page too few for a length that ends inside one", "kv", "return (len + WEIR_PAGE - 1) / WEIR_PAGE;", "return len / WEIR_PAGE + (len < WEIR_PAGE);"),
    bug("host/deck/kv.c", "off by one", "a ring holds one page less", "kv decoder engine", "pages_for(h->keep) + 1;", "pages_for(h->keep);"),
    bug("host/deck/kv.c", "reset", "a page that others hold is written", "kv", "p->refs[slot_table(p, slot)[len / WEIR_PAGE]] > 1;", "p->refs[slot_table(p, slot)[len / WEIR_PAGE]] > 2;"),
    bug("host/deck/kv.c", "leak", "the page that was copied keeps its holder", "kv", "        table[have - 1] = fresh;\n        drop_page(p, old);", "        table[have - 1] = fresh;"),
    bug("host/deck/kv.c", "reset", "a ring's largest length survives its slot", "kv", "if (len == 0 || len > p->most[slot]) p->most[slot] = len;", "if (len > p->most[slot]) p->most[slot] = len;"),
    bug("host/deck/kv.c", "stale", "a slot above the dirty ones is not sent", "kv runner_kv_pool", "if (clean || slot >= p->dirty[1]) p->dirty[1] = slot + 1;", "if (clean) p->dirty[1] = slot + 1;"),
    bug("host/deck/kv.c", "check", "a slot shares pages over its own", "kv", "len > p->len[from] || p->len[to] != 0)", "len > p->len[from])"),
    bug("host/deck/kv.c", "overflow", "page counts past 32 bits are taken", "kv", "    return elems * (double)(pages_of_slot(h) * h->n_slot) < 0x1p60;", "    return elems > 0;"),
    bug("host/deck/kv.c", "math", "a pool's plan forgets its table", "kv engine", "return (weir_bytes){.backend = s.pages + s.table + book};", "return (weir_bytes){.backend = s.pages + book};"),
]

SESSION = [
    bug("host/session/session.c", "reset", "a released slot keeps its pages", "session engine", "        if (m->self) (void)weir__kv_pool_resize(m->self, s->slot, 0);\n", "",
        equivalent="a pool has pages for every slot, and the slot's next session takes these over"),
    bug("host/session/session.c", "reset", "a released slot keeps its source's pages", "session engine", "        if (m->cross) (void)weir__kv_pool_resize(m->cross, s->slot, 0);\n", "",
        equivalent="as above"),
    bug("host/session/session.c", "reset", "a released slot's ring keeps its largest length", "decoder", "        if (m->slide) (void)weir__kv_pool_resize(m->slide, s->slot, 0);\n", ""),
    bug("host/session/session.c", "reset", "the verifier's answer begins with the drafter's text", "methods session", "    s->text_len = 0;\n    s->win = (weir_text_window){0, 0, 0, false};\n    s->n_shown = -1;", "    s->win = (weir_text_window){0, 0, 0, false};\n    s->n_shown = -1;"),
    bug("host/session/session.c", "default", "the seed is no part of the key", "session engine loop", "uint64_t h = mix(o->seed);", "uint64_t h = mix(0 * o->seed);"),
    bug("host/session/session.c", "default", "prompts of other lengths share a key", "session loop", "h = mix(h ^ ((uint64_t)n << 32) ^ o->choice);", "h = mix(h ^ o->choice);",
        equivalent="the prompt's ids are mixed in one by one, so that other lengths give other keys without it"),
    bug("host/session/session.c", "off by one", "only the first end of text ends", "engine session decoder", "for (int i = 0; i < f->n_eos; i++)\n        if (f->eos[i] == id)", "for (int i = 0; i < 1; i++)\n        if (f->eos[i] == id)"),
    bug("host/session/session.c", "precedence", "ignore_eos is not looked at", "session engine", "    if (s->opt.ignore_eos) return false;\n", ""),
    bug("host/session/session.c", "off by one", "a session stops one token before its limit", "blocks", "s->n >= s->cap) weir__session_end(s, WEIR_FINISH_LENGTH)", "s->n >= s->cap - 1) weir__session_end(s, WEIR_FINISH_LENGTH)"),
    bug("host/session/session.c", "off by one", "a decoder's output may pass its context", "decoder session", "e->ctx_size - (int64_t)n_prompt;", "e->ctx_size - (int64_t)n_prompt + 1;"),
    bug("host/session/session.c", "leak", "stop strings are not given back", "session engine", "    for (int i = 0; s->stop && i < s->opt.n_stop; i++) weir_free(s->stop[i]);\n", ""),
    bug("host/session/session.c", "leak", "policy log-probabilities are not given back", "session engine", "    weir_free(s->policy_logprobs);\n", ""),
    bug("host/session/session.c", "stale", "bonus tokens are counted as resampled", "blocks", "st->resampled = by[WEIR_SOURCE_RESAMPLED];", "st->resampled = by[WEIR_SOURCE_RESAMPLED] + by[WEIR_SOURCE_BONUS];"),
    bug("host/session/session.c", "args", "both prompts at once under token-cascade", "methods", "    case WEIR_METHOD_DRAFTER:\n    case WEIR_METHOD_TOKEN_CASCADE: return side == WEIR_DRAFTER;", "    case WEIR_METHOD_DRAFTER: return side == WEIR_DRAFTER;"),
    bug("host/session/check.c", "off by one", "a prompt that leaves no room for output", "decoder", "n_prompt >= (size_t)e->ctx_size)", "n_prompt > (size_t)e->ctx_size)"),
    bug("host/session/check.c", "check", "gamma above the engine's", "session_check", "(o->n_draft < 1 || o->n_draft > e->max_draft)", "o->n_draft < 1"),
    bug("host/session/check.c", "off by one", "the id behind the last is a prompt's", "session_check", "prompt[i] >= e->n_vocab)", "prompt[i] > e->n_vocab)"),
    bug("host/session/check.c", "precedence", "sequence-cascade's alpha is held to the rule's range", "session_check", "o->method == WEIR_METHOD_SEQUENCE_CASCADE || o->method == WEIR_METHOD_VERIFIER ||", "o->method == WEIR_METHOD_VERIFIER ||"),
]

STEP = [
    bug("host/deck/step.c", "check", "a session of another engine is stepped", "blocks", "        if (sessions[i]->e != e)", "        if (!sessions[i]->e || !e)"),
    bug("host/deck/step.c", "off by one", "a session listed twice as neighbours only", "blocks", "        for (int j = 0; j < i; j++)\n            if (sessions[i] == sessions[j])", "        for (int j = i > 0 ? i - 1 : 0; j < i; j++)\n            if (sessions[i] == sessions[j])"),
    bug("host/deck/step.c", "stale", "the last failure is told, not the first", "progress", "weir_err *const say = *first == WEIR_OK ? err : NULL;", "weir_err *const say = err;"),
    bug("host/deck/step.c", "off by one", "one block more than asked for", "blocks", "for (int block = 0, ran; block < max_blocks; block += ran) {", "for (int block = 0, ran; block <= max_blocks; block += ran) {"),
    bug("host/deck/rows.c", "off by one", "the row before the last is wanted", "methods", "s->timeline[i], i, wanted && i == upto - 1);", "s->timeline[i], i, wanted && i == s->cached[side]);"),
    bug("host/deck/rows.c", "index", "rows of a decoder begin at position 0", "decoder", "b->pos[r->n_row] = (int32_t)(s->base + input);", "b->pos[r->n_row] = (int32_t)input;"),
    bug("host/deck/rows.c", "args", "drafter and verifier calls change places in the counts", "loop methods", "    if (side == WEIR_DRAFTER) {\n        s->stats.drafter_calls++;", "    if (side != WEIR_DRAFTER) {\n        s->stats.drafter_calls++;"),
    bug("host/deck/rows.c", "index", "values are picked from the first row of a part", "score", "e->buf.pick[i] = (int32_t)(i * ld + token[from + i]);", "e->buf.pick[i] = (int32_t)(token[from + i]);"),
    bug("host/speculative.c", "index", "drafts of every session are session 0's rows", "loop engine", "return b->draft + (int64_t)i * e->max_draft;", "return b->draft + (int64_t)(i > 1) * e->max_draft;"),
    bug("host/speculative.c", "reset", "a rollback keeps the verifier's rejected rows", "loop engine", "    for (int side = 0; side < 2; side++) WEIR_TRY(weir__session_room(s, side, s->cached[side]));\n    return WEIR_OK;\n}\n\n/* The accept op", "    WEIR_TRY(weir__session_room(s, WEIR_DRAFTER, s->cached[WEIR_DRAFTER]));\n    return WEIR_OK;\n}\n\n/* The accept op",
        equivalent="rows past a session's length are overwritten before they are read, and its pages are counted to it either way"),
    bug("host/speculative.c", "index", "the bonus row of pi is drafted at the drafts' begin", "methods", "const int64_t input = x->n + a->n_draft;", "const int64_t input = x->n + a->n_draft - 1;"),
    bug("host/speculative.c", "args", "the bonus of a full block is from p under every rule", "blocks", "out->kind = bonus_needs_drafter(s, out->position) ? WEIR_EMIT_PI : WEIR_EMIT_P;", "out->kind = bonus_needs_drafter(s, out->position) && s->n < 0 ? WEIR_EMIT_PI : WEIR_EMIT_P;"),
    bug("host/speculative.c", "index", "a residual reads the block's first q", "loop engine", "        out->q_logits = a->q_logits + j * ld_q;\n", "        out->q_logits = a->q_logits + 0 * ld_q;\n"),
    bug("host/speculative.c", "stale", "laws are those of the step before", "loop engine session", "    for (int i = 0; i < n; i++) b->law[i] = s[i]->law;\n    WEIR_TRY(WEIR_PUT(e, law, n));\n    const double t0", "    for (int i = 0; i < n; i++)\n        if (s[i]->n == 0) b->law[i] = s[i]->law;\n    WEIR_TRY(WEIR_PUT(e, law, n));\n    const double t0"),
    bug("host/deck/commit.c", "off by one", "the refused row is not counted as examined", "blocks", "if (going && r->n_accept < r->n_draft) book_row(st, &r->row[r->n_accept]);", "if (going && r->n_accept + 1 < r->n_draft) book_row(st, &r->row[r->n_accept]);"),
    bug("host/deck/commit.c", "args", "kept and accepted change places", "blocks", "row->deferred ? WEIR_SOURCE_ACCEPTED : WEIR_SOURCE_KEPT", "row->deferred ? WEIR_SOURCE_KEPT : WEIR_SOURCE_ACCEPTED"),
    bug("host/deck/commit.c", "off by one", "caches keep the row that was refused", "loop engine", "if (s->cached[side] > start + r->n_accept + 1) s->cached[side] = start + r->n_accept + 1;", "if (s->cached[side] > start + r->n_accept + 2) s->cached[side] = start + r->n_accept + 2;"),
]

METHODS = [
    bug("host/deck/ticks.c", "reset", "the run of a token-cascade is not reset by the verifier", "methods", "    if (emit) {\n        s->run = 0;\n", "    if (emit) {\n"),
    bug("host/deck/ticks.c", "off by one", "the verifier is called one token late", "methods", "if (s[i]->run >= WEIR_TOKEN_CASCADE_RUN) t[i].deferred = true;", "if (s[i]->run > WEIR_TOKEN_CASCADE_RUN) t[i].deferred = true;"),
    bug("host/deck/ticks.c", "math", "the confidence of a sequence is always its sum", "methods", "const double n = s->opt.seq_conf_sum ? 1.0 : (double)s->seq_n;", "const double n = 1.0;"),
    bug("host/deck/ticks.c", "precedence", "confidence is the scaled log-probability", "methods", "s->law.gate_scaled ? (double)e->buf.draft_logp[t->q] : (double)t->log_q;", "(double)e->buf.draft_logp[t->q];"),
    bug("host/deck/ticks.c", "index", "a session's row is its place in the list", "methods", "return e->buf.q_logits + (int64_t)t->q * e->side[WEIR_DRAFTER].ld;", "return e->buf.q_logits + (int64_t)(t->q / 2) * e->side[WEIR_DRAFTER].ld;"),
    bug("host/deck/ticks.c", "stale", "gates of those that are not asked are answered", "methods", "        if (gated(e, s[i], &t[i], verified)) t[i].deferred = e->buf.gate[k++].deferred;", "        if (n_gate > 0 && k < n_gate) t[i].deferred = e->buf.gate[k++].deferred;"),
    bug("host/deck/ticks.c", "check", "a broken row of the verifier is taken", "progress", "    if (q_broken || p_broken || (emit", "    if (q_broken || (p_broken && emit) || (emit"),
]

TEXT = [
    bug("host/session/text.c", "off by one", "text grows without its zero", "session engine", "if (!grow_text(s, s->text_len + n + 1)) return false;", "if (!grow_text(s, s->text_len + n)) return false;"),
    bug("host/session/text.c", "order", "the second stop string wins over an earlier first", "text", "if (!p || (found && (size_t)(p - s->text) >= *at)) continue;", "if (!p) continue;"),
    bug("host/session/text.c", "off by one", "a whole stop string is not held back", "session", "size_t n = strlen(s->stop[i]) - 1;", "size_t n = strlen(s->stop[i]) / 2;"),
    bug("host/session/text.c", "leak", "the text before the last token is not given back", "text session", "        st = shorten(s, &after, before.n + w->told);\n    weir_free(before.text);", "        st = shorten(s, &after, before.n + w->told);"),
    bug("host/session/text.c", "stale", "the window goes on behind a cut", "text", "    s->text[at] = '\\0';\n    s->win = (weir_text_window){n, n, 0, false};", "    s->text[at] = '\\0';"),
    bug("host/session/text.c", "off by one", "bytes of an unfinished character are told", "text", "for (int i = 0; i < 3 && n >= 3 &&", "for (int i = 0; i < 0 && n >= 3 &&"),
    bug("host/session/text.c", "off by one", "a stop string that began more than half its length ago", "text", "before > s->stop_max ? before - s->stop_max : 0", "before > s->stop_max / 2 ? before - s->stop_max / 2 : 0"),
    bug("host/session/text.c", "off by one", "the token that straddles a stop string keeps its end", "text", "        if (s->n > 0) s->token_end[s->n - 1] = s->text_len;\n    }\n    tell", "    }\n    tell"),
]

PLAN = [
    bug("host/deck/plan.c", "math", "drafts have no room behind the context", "blocks", "(int64_t)e->ctx_size + e->max_draft + 2, f->n_layer_self", "(int64_t)e->ctx_size, f->n_layer_self"),
    bug("host/deck/plan.c", "math", "a ring forgets the rows of a call", "decoder engine", "return f->window + rows + e->max_draft + 2;", "return f->window + rows / 1024 + e->max_draft + 2;"),
    bug("host/deck/plan.c", "check", "a plan that does not fit is loaded", "engine", "if (f->available > 0 && f->plan_total > f->available) return refuse(e, o, err);", "if (f->available > 0 && f->kv_total > f->available) return refuse(e, o, err);"),
    bug("host/deck/plan.c", "precedence", "memory_limit does not count", "engine memory", "f->available = o->memory_limit ?", "f->available = o->memory_limit > SIZE_MAX / 2 ?"),
    bug("host/open.c", "leak", "cross lengths are not given back", "engine", "        weir_free(m->cross_len);\n", ""),
    bug("host/pair/tokens.c", "default", "an encoder's prompt has no end of text", "engine cli_generate", "add_special && f->encoder_decoder && f->n_eos > 0)", "add_special && f->encoder_decoder && f->n_eos > 1)"),
    bug("host/open.c", "check", "an isa that this machine lacks", "engine", "        if (asked > (int)*isa)", "        if (asked > WEIR_ISA_AVX512BF16)",
        invisible="only on a machine without AVX-512 BF16"),
    bug("host/open.c", "off by one", "a call of token-cascade has too few rows", "methods engine", "e->max_draft + 2 > WEIR_TOKEN_CASCADE_RUN + 2 ? e->max_draft + 2 : WEIR_TOKEN_CASCADE_RUN + 2;", "e->max_draft + 1;"),
]

REPLAY = [
    bug("host/measure/replay.c", "math", "a bonus is drawn from pi whatever the law says", "replay", "(double)(law->bonus_pi ? t.pi : w->p0) / pi0);", "(double)t.pi / pi0);"),
    bug("host/measure/replay.c", "off by one", "a full block examines a row more", "replay", "for (int d = 0; d < gamma; d++) examined += c->f[d];", "for (int d = 0; d <= gamma; d++) examined += c->f[d];"),
    bug("host/measure/replay.c", "order", "depths move from the first on", "replay", "for (int d = gamma; d > 0; d--) c->f[d] = c->f[d - 1] * go;", "for (int d = 1; d <= gamma; d++) c->f[d] = c->f[d - 1] * go;"),
    bug("host/measure/replay.c", "check", "rows recorded under another truncation", "replay", " || law->min_p != s->min_p)", ")"),
    bug("host/measure/replay.c", "math", "a row's error is that of the sums", "replay", "sqrt(square * (double)n / (double)(n - 1)) / b : NAN;", "sqrt(square / (double)(n - 1)) / b : NAN;"),
    bug("host/measure/replay.c", "stale", "one text without weights hides in the others", "replay", "weighted = weighted && text[t].weighted;", "weighted = text[t].weighted;"),
    bug("host/measure/rule.c", "index", "every batch draws what the first draws", "rule", "draw_key(seed, (uint64_t)(first + i), d->law[i].key);", "draw_key(seed, (uint64_t)(first * 0 + i), d->law[i].key);"),
    bug("host/measure/rule.c", "index", "rejected tokens replace their neighbours", "rule", "d->token[of[i]] = d->emit[i].token;", "d->token[of[i] * 0 + i] = d->emit[i].token;"),
    bug("host/measure/score.c", "check", "NaN logits have a score", "progress", "        if (isnan(st->max)) return WEIR_ELOGITS;\n", ""),
    bug("host/measure/score.c", "check", "prompt and completion past the context", "decoder", "n_prompt + n_completion <= (size_t)e->ctx_size) return WEIR_OK;", "n_completion <= (size_t)e->ctx_size) return WEIR_OK;"),
    bug("host/measure/score_pair.c", "off by one", "the caller's wish to end is overheard", "session engine replay", "for (size_t i = 0; i < n && *more; i++) {", "for (size_t i = 0; i < n; i++) {"),
]

PAIR = [
    bug("host/pair/vocabulary.c", "leak", "the drafter's tokenizer is not given back", "vocabulary", "    if (tv) weir__tokenizer_free(td);\n", ""),
    bug("host/pair/vocabulary.c", "check", "start ids may differ", "vocabulary", "    if (v->start_id != d->start_id)\n", "    if (v->start_id < 0)\n"),
    bug("host/pair/vocabulary.c", "check", "only the first piece is compared", "vocabulary", "    for (int32_t i = 0; i < n; i++) {\n        const char *pv", "    for (int32_t i = 0; i < n && i < 1; i++) {\n        const char *pv"),
    bug("host/pair/vocabulary.c", "args", "the larger vocabulary counts", "vocabulary", "*n_vocab = nv < nd ? nv : nd;", "*n_vocab = nv > nd ? nv : nd;"),
]

DEVICE = [
    bug("host/deck/block_loop.c", "off by one", "pages of the last block are missing", "block_loop", "const int64_t upto = (last < s->cap ? last : s->cap - 1) + gamma + 1;", "const int64_t upto = (last < s->cap ? last : s->cap - 1) + gamma;"),
    bug("host/deck/block_loop.c", "stale", "a seat's tail is the prompt's end", "block_loop", "seat.tail[1] = s->timeline[s->n];", "seat.tail[1] = s->timeline[0];"),
    bug("host/deck/block_loop.c", "index", "the ring is read in blocks of the largest bucket", "block_loop", "ring += (int64_t)(f->taken % WEIR_LOOP_DEPTH) * n_seat;", "ring += (int64_t)(f->taken % WEIR_LOOP_DEPTH) * f->b.l->n_seat_max;"),
    bug("host/deck/block_loop.c", "default", "ignore_eos is lost on a device", "block_loop", "s->opt.ignore_eos ? 0 : f->n_eos", "f->n_eos"),
]

# What a reader of the tests once found that they did not see.
ONCE = [
    bug("host/speculative.c", "order", "sessions by rising gamma", "blocks loop", "s[j - 1]->opt.n_draft < x->opt.n_draft; j--)", "s[j - 1]->opt.n_draft > x->opt.n_draft; j--)"),
    bug("host/session/session.c", "overflow", "choice 256 draws what choice 0 draws", "session", "((uint64_t)n << 32) ^ o->choice);", "((uint64_t)n << 32) ^ (uint8_t)o->choice);"),
    bug("host/session/session.c", "leak", "a session that is given up keeps its slot", "session progress", "    weir__session_end(s, WEIR_FINISH_CANCELLED);\n    weir__session_release(s);", "    weir__session_end(s, WEIR_FINISH_CANCELLED);"),
    bug("host/measure/score.c", "index", "positions start again in every chunk of rows", "score", "completion[i - 1], (int64_t)i, true);", "completion[i - 1], (int64_t)(i - from), true);"),
    bug("host/speculative.c", "off by one", "drafts behind an end of text count", "blocks loop", "if (weir__session_is_eos(s[i], draft_of(e, b, i)[j])) n_draft[i] = j + 1;\n            else going++;", "(void)b, going++;"),
    bug("host/speculative.c", "off by one", "the bonus at position exact_first is from p", "blocks loop", "position >= law->exact_first &&", "position > law->exact_first &&"),
    bug("host/measure/replay.c", "index", "positions are counted from the first text", "replay", "(int32_t)(r->n_row - r->text[r->n_text - 1])", "(int32_t)(r->n_row - r->text[0])"),
    bug("host/deck/memory.c", "math", "files that can be reclaimed are used", "memory", "    used -= files < used ? files : used;\n", "    (void)files;\n"),
    bug("host/deck/memory.c", "precedence", "the group's own limit alone counts", "memory", "        if (!slash) return left;\n", "        if (!slash || left != NO_LIMIT) return left;\n"),
    bug("host/deck/step.c", "check", "a step without progress is none", "progress", "if (progress(sessions, n) <= before || ran < 1)", "if (progress(sessions, n) < before || ran < 1)"),
]

# Progress, interrupts, texts in pieces, limits of memory.
RUNTIME = [
    bug("host/measure/score_pair.c", "index", "rows of both models: positions begin again in every chunk", "score",
        "completion[i - 1], (int64_t)i, true)", "completion[i - 1], (int64_t)(i - from), true)"),
    bug("host/deck/commit.c", "off by one", "drafts after an end are counted as accepted", "blocks",
        "st->accepted += accepted;", "st->accepted += r->n_accept;"),
    bug("host/deck/commit.c", "off by one", "blocks by length count drafts after an end", "blocks",
        "st->accept_hist[accepted]++;", "st->accept_hist[r->n_accept]++;"),
    bug("kernels/loop/seat.h", "off by one", "the bonus at position exact_first is from p", "blocks",
        "s->n + s->n_draft >= s->bonus_from", "s->n + s->n_draft > s->bonus_from"),
    bug("host/session/text.c", "stale", "a view adds what is held of an unfinished character", "text",
        "return s->finish == WEIR_RUNNING ? WEIR_OK : advance(s, true);", "return advance(s, true);"),
    bug("host/session/text.c", "stale", "a view without a callback shows half a character", "text",
        "running ? certain_bytes(all.text, all.n) : all.n", "running ? all.n : all.n"),
    bug("host/session/text.c", "check", "tokens of an unfinished character are told before it", "text",
        "if (s->win.open && i >= s->win.read) return true;", ""),
    bug("host/session/text.c", "check", "the bytes that the end releases are not looked at for a stop string", "text",
        "if (stopped(s, before) && s->finish", "if (before > s->text_len && s->finish"),
    bug("host/session/text.c", "off by one", "a window among undecided bytes begins anew", "text",
        "front.n <= have", "front.n <= have + 9"),
    bug("host/deck/block_loop.c", "off by one", "a loop that closes no block is waited for", "progress",
        "if (more && f->taken == before) return WEIR_ECUDA;", "if (more && f->taken < before) return WEIR_ECUDA;"),
    bug("host/deck/step.c", "check", "a failure that ends nothing is kept as if it had", "progress",
        "if (st != WEIR_ELOGITS) return st;", "if (st == WEIR_ECUDA) return st;"),
    bug("models/rows.c", "check", "a prompt is not interrupted between chunks",
        "progress", "return weir_interrupted(&m->be->interrupt) ? WEIR_ECANCELED : WEIR_OK;", "return weir_interrupted(&m->be->interrupt) ? WEIR_OK : WEIR_OK;"),
    bug("host/open.c", "check", "a session's own cancel is not seen inside its prompt", "progress",
        "|| (e->prefilling && atomic_load(&e->prefilling->cancel))", ""),
    bug("host/deck/ticks.c", "check", "a session given up before its verifier's prompt takes its draft", "progress",
        "if (s[i]->finish != WEIR_RUNNING) continue; /* given up", "/* given up"),
    bug("host/measure/score.c", "check", "scores are not interrupted between chunks", "progress",
        "if (weir__session_given_up(s)) return weir_fail(err, WEIR_ECANCELED, \"cancelled\");", ""),
    bug("host/deck/memory.c", "precedence", "limits of groups above the own are not seen", "memory",
        "        if (!slash) return left;", "        return left;"),
    bug("host/deck/memory.c", "precedence", "the address space is no limit", "memory",
        "least(resource_limit(RLIMIT_AS, all), resource_limit(RLIMIT_DATA, data))", "resource_limit(RLIMIT_DATA, data)"),
]

BUGS = ONCE + RUNTIME + KV + SESSION + STEP + METHODS + TEXT + PLAN + REPLAY + PAIR + DEVICE
