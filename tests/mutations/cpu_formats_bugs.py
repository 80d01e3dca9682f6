"""Bugs in files and tokenizers."""
from entry import cpu_bug as bug

SAFETENSORS = [
    bug("host/formats/safetensors/safetensors.c", "bounds", "a shard may lie outside its directory", "safetensors", "!strchr(s, '/') && ", ""),
    bug("host/formats/safetensors/safetensors.c", "leak", "a shard's path is not given back", "safetensors", "        weir_free(path);\n    }\n    if (st == WEIR_OK) st = order_by_index", "    }\n    if (st == WEIR_OK) st = order_by_index"),
    bug("host/formats/safetensors/safetensors.c", "order", "tensors of an index stay in its order", "safetensors", "    qsort(s->order, s->n, sizeof", "    qsort(s->order, s->n / 2, sizeof"),
    bug("host/formats/safetensors/safetensors.c", "leak", "the index is not given back", "safetensors", "    weir_free(ix.shard);\n", ""),
    bug("host/formats/safetensors/st_file.c", "overflow", "a shape of 2^64 elements is empty", "safetensors", "__builtin_mul_overflow(n, (uint64_t)t->e.shape[i], &n) || n > INT64_MAX)", "__builtin_mul_overflow(n, (uint64_t)t->e.shape[i], &n) && n > INT64_MAX)"),
    bug("host/formats/safetensors/st_file.c", "bounds", "data past the file's end", "safetensors", "    if (t->end > data)\n", "    if (t->begin > data)\n"),
    bug("host/formats/safetensors/st_file.c", "bounds", "a header past the file's end", "safetensors", "    if (header > f->n_bytes - 8)\n", "    if (header > f->n_bytes)\n"),
    bug("host/formats/safetensors/st_file.c", "check", "tensors may overlap", "safetensors", "        if (t->begin < at)\n            return FAIL_TENSOR(f, t->e.name, \"data at %zu overlaps", "        if (t->begin + 1 < at)\n            return FAIL_TENSOR(f, t->e.name, \"data at %zu overlaps",
        equivalent="what begins before the end of the one before is also refused as not tiling the data"),
    bug("host/formats/safetensors/st_file.c", "order", "the file's tensors stay in the order of their data", "safetensors", "    qsort(f->tensors, f->n_tensor, sizeof *f->tensors, weir__entry_by_name);\n", ""),
    bug("host/formats/safetensors/st_file.c", "index", "data begins at the header", "safetensors t5_golden", "t->e.data = data + t->begin;", "t->e.data = data + t->begin - 8;"),
    bug("host/formats/map.c", "leak", "an empty file stays open", "gguf", "        close(fd);\n        return weir_fail(err, WEIR_EFORMAT, \"%s: empty file\"", "        return weir_fail(err, WEIR_EFORMAT, \"%s: empty file\""),
    bug("host/formats/map.c", "bounds", "the page of the next tensor is given back too", "safetensors t5_load checkpoint", "uintptr_t end = ((uintptr_t)data + n) / page * page;", "uintptr_t end = ((uintptr_t)data + n + page - 1) / page * page;",
        equivalent="a private map of a file reads a page again that was given back: time, not bytes"),
]

EIGHT_BITS = [
    bug("host/formats/safetensors/f8.c", "math", "8-bit floats are half as large", "f8", "sign | (exponent + 120) << 23", "sign | (exponent + 119) << 23"),
    bug("host/formats/safetensors/f8.c", "index", "scales of blocks are read down their columns", "f8", "r / g.rows * g.per_row + begin / g.cols", "begin / g.cols * g.per_row + r / g.rows"),
    bug("host/formats/safetensors/f8.c", "check", "a scale of any shape is taken", "f8", "    } else if (down == ceil_div(rows, block.rows) && across == ceil_div(cols, block.cols)) {", "    } else if (across == ceil_div(cols, block.cols)) {"),
    bug("host/formats/config/f8_config.c", "check", "4-bit floats pass for 8", "f8", "json_integer_value(bits) != 8", "json_integer_value(bits) > 8"),
]

FOUR_BITS = [
    bug("host/formats/safetensors/int4.c", "math", "zeros of GPTQ's first format are taken as they are", "int4", "(m->form == WEIR_INT4_GPTQ ? 0x11111111u : 0)", "(m->form == WEIR_INT4_GPTQ_V2 ? 0x11111111u : 0)"),
    bug("host/formats/safetensors/int4.c", "layout", "zeros of awq are in their natural order", "int4", "m->form == WEIR_INT4_AWQ ? awq_nibble[row % 8] : (int)(row % 8)", "(int)(row % 8)"),
    bug("host/formats/safetensors/int4.c", "layout", "codes of awq are in their natural order", "int4", "word[awq_output[i]][j] = v[i];", "word[i][j] = v[i];"),
    bug("host/formats/safetensors/int4.c", "index", "halves of a block change places", "int4", "spread(word[i]) | spread(word[i + 2]) << 4", "spread(word[i + 2]) | spread(word[i]) << 4"),
    bug("host/formats/safetensors/int4.c", "check", "a matrix is symmetric by its first eight zeros", "int4", "m->zeros.data && i < n; i++)", "m->zeros.data && i < 1; i++)"),
    bug("host/formats/safetensors/int4.c", "overflow", "a bf16 past f16's largest becomes an f16", "int4", "(exponent < 1 || exponent > 30)", "exponent < 1"),
    bug("host/formats/safetensors/int4.c", "check", "groups in another order are taken", "int4", "        if (g != i / m->group)\n", "        if (g > i / m->group)\n"),
    bug("host/formats/safetensors/int4.c", "bounds", "a group that does not exist", "int4", "        if (g < 0 || g >= m->n_group)\n", "        if (g < 0)\n",
        equivalent="no such group is the natural one either, so it is refused in other words"),
    bug("host/formats/safetensors/int4.c", "bounds", "the short group at the end of a row is left out", "int4", "(m->cols + m->group - 1) / m->group;", "m->cols / m->group;"),
    bug("host/formats/config/int4_config.c", "check", "3-bit codes pass for 4", "int4", "json_integer_value(b) != 4", "json_integer_value(b) > 4"),
    bug("host/formats/config/int4_config.c", "default", "groups of a silent configuration are whole rows", "int4", "!g ? usual : -1;", "-1;"),
    bug("host/formats/tensor_names.c", "check", "a bias that is not zero is left alone", "int4", "        if (p[i] != 0) return false;\n", ""),
    bug("host/formats/checkpoint.c", "leak", "blocks of a matrix stay when it is packed", "int4", "    if (!find_entry(c, own, &e)) return;\n    drop_one(c, e.data);\n", "    if (!find_entry(c, own, &e)) return;\n",
        equivalent="they go when the checkpoint closes: memory while a model is open, no byte lost"),
]

GGUF = [
    bug("host/formats/gguf/gguf_parse.c", "overflow", "a length of 2^64 - 1 passes the file's end", "gguf_attacks gguf", "    if (n > g->n_bytes - c->at) {", "    if (c->at + n > g->n_bytes) {"),
    bug("host/formats/gguf/gguf_parse.c", "bounds", "arrays longer than the file", "gguf_attacks", "    if (n > left / KIND_BYTES[kind])\n", "    if (n > left)\n",
        equivalent="taking the elements is refused for the same reason, in other words"),
    bug("host/formats/gguf/gguf_parse.c", "check", "bools of an array are not looked at", "gguf_attacks gguf", "    for (size_t i = 0; i < p->n; i++)\n        if (p->at[i] > 1)", "    for (size_t i = 0; i < 1; i++)\n        if (p->at[i] > 1)"),
    bug("host/formats/gguf/gguf_parse.c", "check", "a key that is there twice", "gguf_attacks gguf", "    for (size_t i = 1; i < g->n_pair; i++)\n        if (by_key(&g->pair[i - 1], &g->pair[i]) == 0)", "    for (size_t i = 2; i < g->n_pair; i++)\n        if (by_key(&g->pair[i - 1], &g->pair[i]) == 0)"),
    bug("host/formats/gguf/gguf_parse.c", "leak", "a pair that is not whole loses its index", "gguf_attacks", "        gguf_pair *p = &g->pair[g->n_pair++]; /* counted before it is whole, so that close frees its index */\n        WEIR_TRY(parse_pair(c, p));", "        gguf_pair *p = &g->pair[g->n_pair];\n        WEIR_TRY(parse_pair(c, p));\n        g->n_pair++;"),
    bug("host/formats/gguf/gguf_parse.c", "off by one", "an empty key is taken", "gguf_attacks", "    if (n == 0 || n > MAX_KEY)", "    if (n > MAX_KEY)"),
    bug("host/formats/gguf/gguf_file.c", "bounds", "an alignment that is no power of two", "gguf_attacks", "n > MAX_ALIGNMENT || (n & (n - 1)) != 0)", "n > MAX_ALIGNMENT)"),
    bug("host/formats/gguf/gguf_file.c", "check", "tensors may overlap", "gguf_attacks", "        if (t->offset < end)\n", "        if (t->offset + 64 < end)\n"),
    bug("host/formats/gguf/gguf_file.c", "leak", "a map stays when there is no memory for its name", "gguf_attacks gguf", "        if (mapped) weir__map_free(bytes, n);\n        return weir_fail(err, WEIR_ENOMEM, \"%s: no memory for its name\"", "        return weir_fail(err, WEIR_ENOMEM, \"%s: no memory for its name\""),
    bug("host/formats/gguf/gguf_names.c", "args", "Gemma's norms behind and before the feed-forward change places", "gguf_model decoder_gguf", "{\"pre_feedforward_layernorm.weight\", \"ffn_norm.weight\", FAMILY_POST_NORMS, FAMILY_ONLY_POST},\n    {\"post_feedforward_layernorm.weight\", \"post_ffw_norm.weight\", FAMILY_POST_NORMS, 0},", "{\"pre_feedforward_layernorm.weight\", \"post_ffw_norm.weight\", FAMILY_POST_NORMS, FAMILY_ONLY_POST},\n    {\"post_feedforward_layernorm.weight\", \"ffn_norm.weight\", FAMILY_POST_NORMS, 0},"),
    bug("host/formats/gguf/gguf_split.c", "check", "a part of another file is taken", "gguf_split", "        if (i > 0) WEIR_TRY(check_same(first, part[i], err));\n", ""),
    bug("host/formats/gguf/gguf_split.c", "check", "a part may be another one's copy", "gguf_split", "    if (no == (int64_t)i && count == (int64_t)n) return WEIR_OK;", "    if (count == (int64_t)n) return WEIR_OK;"),
    bug("host/formats/gguf/gguf_split.c", "leak", "parts stay open when one is missing", "gguf_split", "        else\n            for (size_t i = 0; i < n; i++) weir__gguf_close(part[i]);\n    } else {", "        else\n            weir__gguf_close(g);\n    } else {"),
    bug("host/formats/gguf/gguf_split.c", "off by one", "the last part's tensors are left out", "gguf_split", "    first->n_tensor = n_tensor;", "    first->n_tensor = n_tensor - part[n - 1]->n_tensor;"),
    bug("host/formats/gguf/gguf_t5.c", "default", "a T5's decoder is as deep as its encoder", "t5_gguf", "    WEIR_TRY(weir__gguf_read_int(r, \"decoder_block_count\", 1, MAX_LAYER, &c->n_dec_layer));\n", ""),
    bug("host/tokenizers/open/open_gguf_pieces.c", "args", "a T5's runs of spaces are kept", "t5_gguf", "    put_number(&normalizer, 4, collapses);", "    put_number(&normalizer, 4, 0);"),
    bug("host/formats/gguf/gguf_names.c", "off by one", "the tensors of a layer too many are taken", "gguf_refusals gguf_model", "|| layer >= layers_of(m, s))", "|| layer > layers_of(m, s))"),
    bug("host/formats/gguf/gguf_names.c", "check", "a factor of zero divides", "gguf_refusals gguf_model", "        if (!(v > 0) || !isfinite(v))\n", "        if (!isfinite(v))\n"),
    bug("host/formats/gguf/gguf_keys.c", "check", "values that differ from layer to layer are taken for one", "gguf_refusals gguf_model", "!weir__gguf_array_int(g, key, i, &v) || v != first) return false;", "!weir__gguf_array_int(g, key, i, &v)) return false;"),
    bug("host/formats/gguf/gguf_keys.c", "check", "a mixture of experts is opened as dense", "gguf_refusals", "&experts) && experts > 0)", "&experts) && experts > 64)",
        equivalent="the key's own entry refuses every count but 0, with other words"),
]

NAMES = [
    bug("host/formats/tensor_names.c", "check", "a tensor of a known layer is known", "unknown_fields", "? KNOWN : STRANGE_IN_LAYER;", "? KNOWN : KNOWN;"),
    bug("host/formats/tensor_names.c", "off by one", "the beginning of a name passes for it", "unknown_fields", "has_prefix(l, name, strlen(name) + 1)", "has_prefix(l, name, strlen(name))"),
    bug("host/formats/families.c", "default", "Qwen3 has no norms of heads", "decoder_config", "FAMILY_QK_NORM | FAMILY_WINDOW | FAMILY_MAY_SLIDE", "FAMILY_WINDOW | FAMILY_MAY_SLIDE"),
    bug("host/formats/families.c", "default", "one layer in seven of Gemma 3 is global", "decoder_config gguf_model", ".period = 6,", ".period = 7,"),
]

ROPE = [
    bug("host/formats/config/rope_config.c", "precedence", "rope_type wins over its old name", "decoder_config",
        "    WEIR_TRY(weir__get_string(rope, \"rope_type\", &name, label, err));\n    WEIR_TRY(weir__get_string(rope, \"type\", &name, label, err));",
        "    WEIR_TRY(weir__get_string(rope, \"type\", &name, label, err));\n    WEIR_TRY(weir__get_string(rope, \"rope_type\", &name, label, err));"),
    bug("host/formats/config/rope_config.c", "default", "beta_fast is 16 where the file is silent", "decoder_config", ": 32.0f;", ": 16.0f;"),
    bug("host/formats/config/rope_config.c", "args", "mscale and mscale_all_dim change places", "decoder_config", "mscale_of((double)out->factor, mscale) / mscale_of((double)out->factor, mscale_all);", "mscale_of((double)out->factor, mscale_all) / mscale_of((double)out->factor, mscale);"),
    bug("host/formats/config/rope_config.c", "check", "Llama 3's high factor may equal the low one", "decoder_config", "if (!(r.high_freq > r.low_freq))", "if (!(r.high_freq >= r.low_freq))"),
    bug("host/formats/config/rope_config.c", "bounds", "a list of divisors may be too short", "families",
        "json_array_size(list) != (size_t)n)", "json_array_size(list) > (size_t)n)"),
    bug("host/formats/config/rope_config.c", "check", "su is no name of longrope", "families",
        "strcmp(name, \"su\") == 0 ||", "strcmp(name, \"so\") == 0 ||"),
    bug("host/formats/config/decoder_config.c", "check", "in no_rope_layers 1 is a layer without positions", "families",
        "given ? json_integer_value(v) == 0 :", "given ? json_integer_value(v) == 1 :"),
    bug("host/formats/config/decoder_config.c", "math", "logits are multiplied by logits_scaling", "families decoder",
        "(float)(1.0 / m[3].value);", "(float)m[3].value;"),
    bug("host/formats/gguf/gguf_model.c", "check", "a Granite without positions is opened", "gguf_model",
        "\"rope.scaling.finetuned\", key), false, r->err)", "\"rope.scaling.finetuned\", key), true, r->err)"),
    bug("host/formats/gguf/gguf_model.c", "default", "Phi-3's window is ignored", "gguf_model decoder_gguf",
        "i < c->n_layer; i++) c->sliding[i] = true;", "i < c->n_layer; i++) c->sliding[i] = false;"),
    bug("host/formats/config/rope_config.c", "precedence", "theta inside rope_scaling is ignored", "decoder_config", "    r.theta = (float)theta;\n", ""),
]

TOKENIZERS = [
    bug("host/tokenizers/ids.c", "leak", "a failed text loses its ids", "bpe_files",
        "        weir_free(l->at);\n    }\n    *l", "    }\n    *l"),
    bug("host/tokenizers/ids.c", "bounds", "a list grows by what it has, not by what comes", "added",
        "__builtin_add_overflow(cap, more, &cap)", "__builtin_add_overflow(cap, 0, &cap)"),
    bug("host/tokenizers/pipeline/merge.c", "order", "equal ranks merge from the right", "bpe bpe_files", "(a->rank == b->rank && a->left < b->left);", "(a->rank == b->rank && a->left > b->left);"),
    bug("host/tokenizers/pipeline/merge.c", "stale", "a pair that has changed since is merged", "bpe bpe_files", "        if (l->n + r->n != x.n) continue;", "        if (l->n + r->n < x.n) continue;"),
    bug("host/tokenizers/pipeline/merge.c", "off by one", "a node's fourth child is not looked at", "bpe bpe_files", "const size_t end = k + 4 < m->n_heap ? k + 4 : m->n_heap;", "const size_t end = k + 3 < m->n_heap ? k + 3 : m->n_heap;"),
    bug("host/tokenizers/pipeline/merge.c", "index", "the symbol behind a merge points at what is gone", "bpe bpe_files", "    if (l->next >= 0) m->symbols[l->next].prev = left;\n", ""),
    bug("host/tokenizers/vocab/vocab.c", "stale", "a table that grows forgets its tokens", "vocab", "    for (size_t k = 0; k < n_old; k++)\n        if (old[k] != 0)", "    for (size_t k = 1; k < n_old; k++)\n        if (old[k] != 0)"),
    bug("host/tokenizers/vocab/vocab.c", "check", "a token that is there twice", "bpe bpe_files", "    if (twin >= 0) return weir_fail(", "    if (twin > v->n) return weir_fail("),
    bug("host/tokenizers/vocab/vocab.c", "check", "a token with the same beginning is found", "bpe tokenizer", "if (weir__vocab_bytes(v, i) == n && memcmp(", "if (weir__vocab_bytes(v, i) >= n && memcmp("),
    bug("host/tokenizers/vocab/vocab.c", "order", "the later of two merges of a pair counts", "vocab", "    if (slot->left >= 0) return;\n    *slot = x;", "    *slot = x;"),
    bug("host/tokenizers/text/utf8.c", "check", "surrogates are characters", "bpe tokenizer", "    if (p[0] == 0xed) hi = 0x9f;\n", ""),
    bug("host/tokenizers/text/utf8.c", "off by one", "U+FFFD for each byte of a broken character", "bpe tokenizer", "        *bad = i + 1;\n", ""),
    bug("host/tokenizers/text/utf8.c", "bounds", "a character cut by the text's end is read on", "vocab", "        if (i >= n || p[i] < (i == 1 ? lo : 0x80)", "        if ((i >= n && i > 4) || p[i] < (i == 1 ? lo : 0x80)",
        equivalent="the zero byte that every text has ends the character too, and the room counted before is enough"),
    bug("host/tokenizers/text/utf8.c", "off by one", "the last character of two bytes takes three", "vocab", "    if (cp < 0x800) {", "    if (cp < 0x7ff) {"),
    bug("host/tokenizers/text/bytes.c", "off by one", "the byte A0 is spelled as itself", "bpe bpe_files", "(b >= 0xa1 && b <= 0xff && b != 0xad)", "(b >= 0xa0 && b <= 0xff && b != 0xad)"),
    bug("host/tokenizers/steps/normalize.c", "overflow", "a text may grow without bound", "vocab", "const size_t most = 64 * t->bytes + 1024;", "const size_t most = SIZE_MAX / 4;"),
    bug("host/tokenizers/steps/normalize.c", "leak", "a step's input is not given back", "bpe", "    weir_free(t->text);\n    t->text = out->s;", "    t->text = out->s;"),
    bug("host/tokenizers/text/bytes.c", "check", "<0x41>> is a byte", "vocab", "if (n != 6 || memcmp(s, \"<0x\", 3) != 0", "if (n < 5 || memcmp(s, \"<0x\", 3) != 0"),
    bug("host/tokenizers/spm/spm_check.c", "bounds", "a trie leads past its end", "tokenizer mutations", "if (b >= t->n || (b | 0xff) >= t->n) return", "if (b > t->n) return"),
    bug("host/tokenizers/spm/spm_check.c", "check", "a trie runs in a circle", "tokenizer mutations", "        if (t->state[base] == 1) return \"its trie runs in a circle\";\n", "        if (t->state[base] == 1) {\n            t->next[b]++;\n            continue;\n        }\n"),
    bug("host/tokenizers/spm/spm_check.c", "bounds", "values past the strings", "tokenizer mutations", "unit_value(unit_at(t, b)) >= t->n_text)", "unit_value(unit_at(t, b)) > t->n_text + 4096)"),
    bug("host/tokenizers/steps/pattern.c", "check", "classes inside classes are copied", "bpe bpe_files", "        if (*t->at == '[') return refuse(err, \"a class inside a class\", 22);\n", ""),
    bug("host/tokenizers/steps/pattern.c", "bounds", "room for what \\s becomes is missing", "vocab", "weir_alloc(bytes * sizeof SPACES + 8, 1)", "weir_alloc(bytes * 8 + 8, 1)"),
]

BUGS = SAFETENSORS + EIGHT_BITS + FOUR_BITS + GGUF + NAMES + ROPE + TOKENIZERS
