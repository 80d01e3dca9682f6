"""Bugs of several ranks: shares, exchanges, what members are told, how a group ends."""
from entry import cpu_bug as bug

SHARES = [
    bug("models/share.c", "off by one", "a rank's heads begin one late", "model_ranks engine_ranks",
        "h->head = (int32_t)(first / s->head_dim)", "h->head = (int32_t)(first / s->head_dim) + (p.rank == 1)"),
    bug("models/share.c", "index", "KV heads of the rank before", "model_ranks",
        "h->head_kv = h->n_head > 0 ? h->head / of_kv : 0;", "h->head_kv = h->n_head > 0 ? (h->head + of_kv - 1) / of_kv : 0;"),
    bug("models/share.c", "off by one", "the last chunk of the vocabulary is whole", "model_ranks",
        "(end < s->n_vocab_rows ? end : s->n_vocab_rows) - h.id", "end - h.id"),
    bug("models/attention.c", "index", "a share's first query head reads its group's first KV head wrongly", "model_ranks",
        "(int32_t)(h->q.first - h->kv.first * h->of_kv)", "(int32_t)(0 * h->q.first)"),
    bug("models/attention.c", "index", "cross keys of rank 0's heads on every rank", "model_ranks engine_ranks",
        "m->a.h + a->heads.kv.first * a->heads.head_dim", "m->a.h + 0 * a->heads.kv.first"),
    bug("models/t5_load.c", "index", "every rank has the first heads' bias", "model_ranks",
        "weir_tensor_cols(&t, own.head, own.n_head)", "weir_tensor_cols(&t, 0, own.n_head)"),
    bug("models/weights.c", "index", "every rank has the first heads' biases", "model_ranks",
        "weir_tensor_get(&t, 0, l->rows[p].first + i)", "weir_tensor_get(&t, 0, i)"),
    bug("models/create.c", "order", "shares follow from the blocks of one tensor", "model_ranks",
        "    memcpy(w->block, scan.block, sizeof w->block);\n", "", equivalent="fakes have float weights, of blocks of one"),
    bug("models/product.c", "race", "partial sums have one place", "model_ranks engine_ranks",
        "m->n_reduced++ % 2 * rows * dim", "0 * m->n_reduced * rows * dim"),
    bug("models/product.c", "args", "a residual of partial sums replaces the stream", "model_ranks",
        ".add = a.epilogue == WEIR_EPI_ADD};", ".add = false};"),
    bug("models/head.c", "index", "ranks look ids up from 0 on", "model_ranks", ".first = (int32_t)m->shape.own.id};",
        ".first = 0};"),
    bug("models/rows.c", "check", "a rank ends a prompt on its own", "engine_ranks",
        "    if (m->be->comm) return WEIR_OK; /* rank 0 asks", "    if (!m->be) return WEIR_OK; /* rank 0 asks"),
]

COMM = [
    bug("kernels/comm/exchange_cpu.c", "order", "partial sums are a chain", "comm model_ranks",
        "    for (int d = 1; d < n_rank; d *= 2) {\n", "    for (int r = 1; r < n_rank; r++)\n"
        "        if (has >> r & 1) v[0] = has & 1 ? v[0] + v[r] : v[r], has |= 1;\n"
        "    for (int d = n_rank; d < n_rank; d *= 2) {\n"),
    bug("kernels/comm/exchange_cpu.c", "math", "a rank without inputs counts as 0", "comm",
        "if (right) v[r] = left ? v[r] + v[r + d] : v[r + d];", "v[r] = v[r] + v[r + d];"),
    bug("kernels/comm/exchange_cpu.c", "off by one", "an id on the edge belongs to the rank before", "comm model_ranks",
        "id >= first[r + 1]) r++;", "id > first[r + 1]) r++;"),
    bug("kernels/comm/exchange_cpu.c", "race", "rows may change while others read them", "comm",
        "    return weir__comm_release(a->comm);\n", "    return WEIR_OK;\n", builds=["plain", "tsan"]),
    bug("kernels/comm/comm_local.c", "race", "one array of pointers", "comm", "g->pointer[c->gathered % 2];", "g->pointer[0];",
        builds=["plain", "tsan"]),
    bug("kernels/comm/comm_local.c", "wait", "a barrier opens for the last but one", "comm",
        "atomic_fetch_add(&g->here, 1) + 1 == g->n_rank)", "atomic_fetch_add(&g->here, 1) + 1 >= g->n_rank - (g->n_rank > 2))"),
    bug("kernels/comm/comm_local.c", "wait", "an idle follower is ill", "comm",
        "(void)wait_for(g, &g->commands, l->heard, -1.0);", "if (!wait_for(g, &g->commands, l->heard, g->seconds)) note_silence(c);"),
    bug("kernels/comm/comm_local.c", "args", "who is silent is whoever waits", "comm",
        "if (atomic_load(&g->passed[r]) < atomic_load(&g->passed[silent])) silent = r;",
        "if (atomic_load(&g->passed[r]) > atomic_load(&g->passed[silent])) silent = r;"),
    bug("kernels/comm/comm_local.c", "order", "the last reason counts", "comm",
        "    if (!atomic_load(&g->broken)) {\n        (void)weir_fail(&g->why, why,", "    {\n        (void)weir_fail(&g->why, why,"),
    bug("kernels/comm/comm_local.c", "leak", "a group outlives its ranks", "comm",
        "if (atomic_fetch_sub(&g->open, 1) == 1) free_group(g);", "(void)atomic_fetch_sub(&g->open, 1);"),
]

RANKS = [
    bug("host/ranks/lead.c", "args", "a slot's pages are told once", "engine_ranks",
        "    if (memcmp(known, page, (size_t)count * sizeof *page) == 0) return 0;\n", "    if (known[0] != 0) return 0;\n"),
    bug("host/ranks/lead.c", "off by one", "a row's last page is not told", "engine_ranks",
        "n += put_slot(l, kv, b->slot[i], last + 1);", "n += put_slot(l, kv, b->slot[i], last);"),
    bug("host/ranks/lead.c", "args", "a prompt of the same length is known", "engine_ranks",
        "memcmp(l->prompt[place], token, bytes) == 0) return true;", "bytes > 0) return true;"),
    bug("host/ranks/lead.c", "args", "the length of a source is not told", "engine_ranks",
        "        if (b->slot[i] >= 0) n += put_source(l, kv, b->slot[i]);\n", "        (void)put_source;\n"),
    bug("host/ranks/agree.c", "args", "a rank's failure at open is passed over", "engine_ranks",
        "        if (all[r].status == WEIR_OK) continue;\n", "        if (r > 0 || all[r].status == WEIR_OK) continue;\n"),
    bug("host/ranks/member.c", "args", "a member goes on after its own failure", "engine_ranks",
        "if (s != WEIR_OK && (s != WEIR_EINVAL || m->comm->gathered != before))", "if (s == WEIR_EIO && before > 0)",
        equivalent="a member's calls fail only as rank 0's do, or for a lack of memory that they do not ask for"),
    bug("host/deck/plan.c", "math", "the plan is rank 0's", "engine_ranks",
        "        all = plus(all, p->total);\n", "        all = plus(all, r == 0 ? p->total : 0);\n"),
    bug("host/pair/place.c", "check", "the drafter may have any number of ranks", "engine_ranks",
        "    if (p->draft_rank == 1 || p->draft_rank == p->n_rank) return WEIR_OK;\n", "    if (p->draft_rank >= 1) return WEIR_OK;\n"),
]

BUGS = SHARES + COMM + RANKS
