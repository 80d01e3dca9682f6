"""Bugs in the front end: options, lines of input, answers, profiles, replay."""
from entry import cpu_bug as bug

OPTIONS = [
    bug("host/cli/options/options.c", "precedence", "the environment wins over the command line", "cli_options", " || cli_given(out, (cli_option_id)i)) continue;", ") continue;"),
    bug("host/wire/object.c", "off by one", "a closed end of a range is open", "cli_options wire_settings", ": x >= lo)", ": x > lo)"),
    bug("host/cli/options/options.c", "overflow", "a seed past 64 bits is the largest", "cli_options", "return errno == ERANGE ? out_of_range(o, label, text) : CLI_OK;", "return errno == ERANGE && !o->name ? out_of_range(o, label, text) : CLI_OK;"),
    bug("host/cli/options/options.c", "check", "a number with letters behind it", "cli_options", "    if (end == text || *end || !isfinite(x)) {", "    if (end == text || !isfinite(x)) {"),
    bug("host/cli/options/options.c", "check", "an option of another command is taken", "cli_options", "    if (!(o->commands & (1u << out->command))) return", "    if (!(o->commands & (1u << out->command)) && m.old) return"),
    bug("host/cli/options/options.c", "bounds", "a list past its end", "cli_options", "if (l->n == CLI_MAX_LIST) return cli_fail", "if (l->n > CLI_MAX_LIST) return cli_fail"),
    bug("host/cli/options/options.c", "args", "yes is no", "cli_options", "if (strcmp(text, words[i]) == 0) return i & 1;", "if (strcmp(text, words[i]) == 0) return i > 3;"),
]

REQUEST = [
    bug("host/wire/request.c", "leak", "the ids of a request are not given back", "wire_request cli_generate cli_failures", "    weir_free(r->ids);\n    wire_stop_free", "    wire_stop_free"),
    bug("host/wire/request.c", "check", "ids and a text at once", "cli_generate", "if (text + ids + talk != 1)", "if (text + ids + talk < 1)"),
    bug("host/cli/options/source.c", "reset", "a line's fields are the next line's defaults", "cli_generate", "    wire_request r = {.o = s->defaults};\n", "    wire_request r = {.o = s->defaults};\n    static weir_session_options last;\n    static bool any;\n    if (any && s->kind == SOURCE_JSONL) r.o = last;\n    last = r.o;\n    any = true;\n",
        equivalent="what is kept is the options before the line is read, not after"),
    bug("host/wire/settings.c", "precedence", "a line's rule keeps the flags' knobs", "cli_generate wire_settings", "    if (rule != law->rule) wire_set_rule(law, (weir_rule)rule);", "    if (rule != law->rule) law->rule = rule;"),
    bug("host/wire/request.c", "check", "a stop string with a zero byte", "cli_generate", "|| strlen(json_string_value(s)) != len)", ")"),
    bug("host/wire/request.c", "bounds", "more stop strings than there is room for", "cli_generate", "    if (count > WIRE_MAX_STOP) return wire_object_fail", "    if (count > 2 * WIRE_MAX_STOP) return wire_object_fail"),
    bug("host/wire/object.c", "off by one", "top_p 0 is in range", "cli_generate wire_settings", "(lo_open ? x > lo && stored > lo :", "(lo_open ? x >= lo && stored >= lo :"),
    bug("host/cli/options/source.c", "off by one", "a file's last line break is part of the prompt", "cli_failures", "    if (got == CLI_READ_LINE && *n > 0 && (*text)[*n - 1] == '\\n') *n -= 1;\n", ""),
    bug("host/wire/object.c", "check", "ids past 31 bits", "cli_generate cli_commands", "if (x < 0 || x > INT32_MAX) {", "if (x < 0) {"),
    bug("host/wire/object.c", "leak", "a refused list of ids is kept", "wire_object cli_generate cli_failures", "            weir_free(ids);\n            return wire_object_fail(o, key, err, \"entry %zu: expected a token id", "            return wire_object_fail(o, key, err, \"entry %zu: expected a token id"),
    bug("host/wire/settings.c", "check", "unknown fields of a line are passed over", "cli_generate wire_settings", "if (!wire_find(where, key)) return", "if (!wire_find(~0u, key) && !where) return"),
    bug("host/wire/object.c", "check", "infinite logits of a recording", "cli_replay", "if (!json_is_number(v) || !isfinite(x[i])) {", "if (!json_is_number(v)) {"),
]

# The fields' table, its ranges, masks and defaults, and what is written of it.
WIRE = [
    bug("host/wire/object.c", "off by one", "the lower end of a whole number's range is refused", "wire_settings wire_object",
        "    if (x < lo || x > hi)\n", "    if (x <= lo || x > hi)\n"),
    bug("host/wire/object.c", "off by one", "the largest integer of the parser is past it", "wire_object",
        "memcmp(text + sign, most[sign], 19) > 0));", "memcmp(text + sign, most[sign], 19) >= 0));",
        equivalent="the largest one is read as a real and found in the text again, digit by digit"),
    bug("host/wire/object.c", "off by one", "reals of 309 digits are left to the parser", "wire_object",
        "e[1] == '-' : n < 309) return false;", "e[1] == '-' : n < 310) return false;"),
    bug("host/wire/settings.c", "check", "a law's knobs without effect are written", "wire_settings cli_replay",
        "} else if (f->otherwise != WIRE_LEFT_OUT && where != WIRE_LAW) {", "} else if (f->otherwise != WIRE_LEFT_OUT) {"),
    bug("host/wire/settings.c", "precedence", "sequence-cascade has no alpha", "wire_settings",
        "return sequence || (ruled && o->law.rule != WEIR_RULE_EXACT);", "return ruled && o->law.rule != WEIR_RULE_EXACT;"),
    bug("host/wire/settings.c", "default", "the line leaves out whatever is the preset", "wire_settings",
        "(f->terse && wire_get(f, o) == preset)) continue;", "wire_get(f, o) == preset) continue;"),
    bug("host/wire/settings.c", "stale", "laws with other knobs are equal", "wire_settings cli_replay",
        "if ((f->where & WIRE_LAW) && !(u == v || (isnan(u) && isnan(v)))) return false;",
        "if ((f->where & WIRE_LAW) && f->type != WIRE_NUMBER && !(u == v || (isnan(u) && isnan(v)))) return false;"),
    bug("host/wire/settings.c", "check", "max_tokens past the context", "wire_request cli_generate",
        "if (limits && f == &wire_fields[WIRE_MAX_TOKENS] && limits->max_tokens > 0) r.hi", "if (limits && f == &wire_fields[WIRE_MAX_TOKENS] && limits->max_tokens < 0) r.hi"),
    bug("host/wire/fields.c", "bounds", "top_p's lower end is in its range", "wire_settings cli_options",
        ".lo = 0, .lo_open = true, .hi = 1,", ".lo = 0, .lo_open = false, .hi = 1,"),
    bug("host/wire/fields.c", "default", "gamma's preset is not the engine's", "wire_settings cli_options",
        ".preset = \"auto\",", ".preset = \"5\","),
    bug("host/wire/fields.c", "args", "an answer does not say its max_tokens", "wire_settings cli_generate",
        ".where = WIRE_GENERATE | WIRE_ANSWER | WIRE_ASK},", ".where = WIRE_GENERATE | WIRE_ASK},"),
    bug("host/wire/fields.c", "args", "a profile's exact_first is no field of it", "cli_profile cli_tune",
        "WIRE_GENERATE | WIRE_REPLAY | WIRE_PROFILE | WIRE_LAW | WIRE_ANSWER | WIRE_LINE | WIRE_ASK},",
        "WIRE_GENERATE | WIRE_REPLAY | WIRE_LAW | WIRE_ANSWER | WIRE_LINE},"),
    bug("host/wire/request.c", "default", "a line's speculative false changes nothing", "wire_request cli_generate",
        "    if (asked && !speculative) o->method = WEIR_METHOD_VERIFIER;\n", ""),
    bug("host/wire/answer.c", "math", "drafts that were resampled count as accepted predictions", "cli_generate",
        "int64_t appeared = s->kept + wire_agreed(s);", "int64_t appeared = s->kept + s->resampled + wire_agreed(s);"),
    bug("host/wire/answer.c", "check", "every rule of speculative is lossless", "cli_generate",
        "(o->method == WEIR_METHOD_SPECULATIVE && o->law.rule == WEIR_RULE_EXACT);", "o->method == WEIR_METHOD_SPECULATIVE;"),
    bug("host/wire/nearest.c", "off by one", "the last of the nearest names is said", "cli_options wire_settings",
        "d >= n->distance) return;", "d > n->distance) return;"),
    bug("host/wire/nearest.c", "check", "any name is near to any word", "cli_options http_admit",
        "(half > 1 ? half : 1)", "(half > 1 ? half + 40 : 40)"),
    bug("host/cli/options/setup.c", "check", "a knob for the rule exact changes nothing, and nothing is said",
        "cli_options cli_chat", "cli_given(a, OPT_ALPHA) && !wire_counts(", "false && !wire_counts("),
    bug("host/wire/request.c", "check", "a knob that the rule does not have is taken", "ask",
        "    WEIR_TRY(check_knobs(in, o, err));\n", ""),
    bug("host/cli/options/help.c", "order", "a range's word is before its unit", "cli_options",
        """    if (o->unit) n += snprintf(buf + n, (size_t)(cap - n), "%s%s", n ? " " : "", o->unit);
    if (range[0] && o->word) n += snprintf(buf + n, (size_t)(cap - n), ", or %s", o->word);
""",
        """    if (range[0] && o->word) n += snprintf(buf + n, (size_t)(cap - n), ", or %s", o->word);
    if (o->unit) n += snprintf(buf + n, (size_t)(cap - n), "%s%s", n ? " " : "", o->unit);
"""),
    bug("host/measure/bench_rows.c", "check", "a name with a comma is two fields", "cli_commands",
        """strchr(r->name, ',') ? "\\"" : "";""", """"";"""),
]

LINES = [
    bug("host/cli/io/reader.c", "off by one", "the last line without a line break is lost", "cli_reader", "        if (!end && r->at_end && left == 0) return CLI_READ_END;", "        if (!end && r->at_end) return CLI_READ_END;"),
    bug("host/cli/io/reader.c", "stale", "what was scanned counts for the next line", "cli_reader", "            r->scanned = 0;\n", ""),
    bug("host/cli/io/reader.c", "off by one", "CR stays at the end of a line", "cli_reader", "            if (len > 0 && from[len - 1] == '\\r') len--;\n", ""),
    bug("host/cli/io/reader.c", "index", "a read moves what was consumed", "cli_reader", "        r->pending.len -= r->start;\n        r->start = 0;", "        r->start = 0;"),
    bug("host/wire/buf.c", "check", "code points past U+10FFFF are text", "wire_object", "    if (s[0] == 0xf4 && s[1] > 0x8f) return 0;\n", ""),
]

ANSWERS = [
    bug("host/cli/generate.c", "order", "answers leave in the order they finish", "cli_generate", "        if (!j->finished) return;\n        r->head", "        if (!j->finished && !r->json) return;\n        r->head"),
    bug("host/queue/round.c", "index", "every ended session is the list's first one's", "queue cli_generate",
        "harvest(q->listed[i]);", "harvest(q->listed[i * 0]);"),
    bug("host/cli/generate.c", "stale", "text is printed from its beginning again", "cli_generate", "            j->printed = j->text.len;\n", ""),
    bug("host/cli/generate.c", "default", "line breaks of an answer stay in one-line output", "cli_failures", "text[i] == '\\n' || text[i] == '\\r' ? ' ' : text[i];", "text[i] == '\\r' ? ' ' : text[i];"),
    bug("host/cli/generate.c", "check", "a failed run ends with status 0", "cli_generate cli_failures", "    if (r->rc == CLI_OK) r->rc = rc;\n", "    if (r->rc != CLI_OK) r->rc = rc;\n"),
    bug("host/cli/options/profile.c", "precedence", "a profile's knobs apply beside the flags' rule", "cli_profile", "(knob && own_knobs)) continue;", "(knob && false && own_knobs)) continue;"),
    bug("host/cli/options/profile.c", "check", "a file that is no profile is one", "cli_profile", "!= 1)\n        return wire_object_fail(in, \"weir_profile\"", "> 1)\n        return wire_object_fail(in, \"weir_profile\""),
    bug("host/wire/fields.c", "check", "texts of several laws in one recording", "cli_replay wire_settings", ".help = \"Keep tokens that are at least P times as likely as the likeliest one; 0 keeps all.\", .terse = true, .where = WIRE_GENERATE | WIRE_SHORT | WIRE_ASK}", ".help = \"Keep tokens that are at least P times as likely as the likeliest one; 0 keeps all.\", .terse = true, .where = WIRE_GENERATE | WIRE_RULE | WIRE_ANSWER | WIRE_LINE}"),
    bug("host/cli/replay.c", "off by one", "the end of text counts as a token", "cli_replay", "add_row(s, &row, !(ended && i + 1 == n), err)", "add_row(s, &row, !(ended && i == n), err)"),
    bug("host/cli/record.c", "math", "a merged tail holds the verifier's mass alone", "cli_replay", "return fmax(mass[0], mass[1]);", "return mass[1];"),
    bug("host/cli/record.c", "default", "a tail is merged above temperature 1", "cli_replay", "(law->temp <= 1 && law->top_k <= 0", "(law->temp <= 2 && law->top_k <= 0"),
]

BUGS = OPTIONS + REQUEST + WIRE + LINES + ANSWERS
