#include <string.h>

#include "host/chat.h"

/* Which format a Jinja program writes, from words that stand in it. The first row whose words are all there, and none of the
 * others, decides. Programs that share words but write something else are kept out by words of theirs; what is in doubt
 * stays unknown, and the user can name it. */
typedef struct mark {
    const char *name;
    const char *all[5], *none[7];
} mark;

#define CHATML "<|im_start|>", "<|im_end|>"

static const mark marks[] = {
    {"qwen3", {CHATML, "enable_thinking", "multi_step_tool", "</think>"}, {"image", "<|im_sep|>", "bos_token"}},
    {"qwen2.5", {CHATML, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
     {"<think>", "image", "bos_token"}},
    {"smollm2", {CHATML, "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>"},
     {"<think>", "bos_token"}},
    {"qwen2", {CHATML, "You are a helpful assistant.<|im_end|>"},
     {"<think>", "image", "<|im_sep|>", "trim", "strip(", "bos_token"}},
    {"chatml", {CHATML}, {"<think>", "image", "<|im_sep|>", "trim", "strip(", "bos_token", "eos_token"}},
    {"gemma", {"<start_of_turn>", "<end_of_turn>", "model", "bos_token", "trim"}, {"<start_function", "tools", "<think>"}},
    {"llama3.1", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "Cutting Knowledge Date: December 2023", "trim"},
     {"<think>", "thinking", "<tool_call>"}},
    {"llama3", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "bos_token", "trim"},
     {"<think>", "thinking", "Knowledge Date", "tools", "strftime_now"}},
    {"llama2", {"[INST] ", " [/INST]", "<<SYS>>", "<</SYS>>", "strip("}, {"true == true", "[AVAILABLE_TOOLS]", "tools"}},
};

static bool holds(const char *jinja, size_t bytes, const char *word) {
    return memmem(jinja, bytes, word, strlen(word)) != NULL;
}

static bool fits(const mark *m, const char *jinja, size_t bytes) {
    for (int i = 0; i < 5 && m->all[i]; i++)
        if (!holds(jinja, bytes, m->all[i])) return false;
    for (int i = 0; i < 7 && m->none[i]; i++)
        if (holds(jinja, bytes, m->none[i])) return false;
    return true;
}

/* Whether a program has a system message of its own: words, rather than the end of a string, after the line that begins one. */
static bool has_own_system(const char *jinja, size_t bytes) {
    static const char word[] = "<|im_start|>system";
    const char *end = jinja + bytes;
    for (const char *p = jinja; (p = memmem(p, (size_t)(end - p), word, sizeof word - 1)) != NULL;) {
        p += sizeof word - 1;
        if (end - p >= 2 && p[0] == '\\' && p[1] == 'n') p += 2;
        else if (end - p >= 1 && p[0] == '\n') p += 1;
        else continue;
        if (p < end && *p != '\'' && *p != '"' && *p != '{') return true;
    }
    return false;
}

const weir_chat_template *weir_chat_template_detect(const char *jinja, size_t bytes) {
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (!fits(&marks[i], jinja, bytes)) continue;
        if (strcmp(marks[i].name, "chatml") == 0 && has_own_system(jinja, bytes)) return NULL;
        return weir_chat_template_find(marks[i].name);
    }
    return NULL;
}
