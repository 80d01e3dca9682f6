#include "host/formats/config/tokenizer_class.h"

#include <string.h>

#define T5_TOKENS \
    { [WEIR_SPECIAL_EOS] = "</s>", [WEIR_SPECIAL_UNK] = "<unk>", [WEIR_SPECIAL_PAD] = "<pad>" }
#define LLAMA_TOKENS \
    { [WEIR_SPECIAL_BOS] = "<s>", [WEIR_SPECIAL_EOS] = "</s>", [WEIR_SPECIAL_UNK] = "<unk>" }
#define GEMMA_TOKENS                                                                              \
    {                                                                                             \
        [WEIR_SPECIAL_BOS] = "<bos>", [WEIR_SPECIAL_EOS] = "<eos>", [WEIR_SPECIAL_UNK] = "<unk>", \
        [WEIR_SPECIAL_PAD] = "<pad>"                                                              \
    }
#define END "<|endoftext|>"

static const weir__class classes[] = {
    {.name = "T5Tokenizer", .t5 = true, .special = T5_TOKENS},
    {.name = "MT5Tokenizer", .t5 = true, .special = T5_TOKENS},
    {.name = "LlamaTokenizer", .add_bos = true, .special = LLAMA_TOKENS},
    {.name = "CodeLlamaTokenizer",
     .add_bos = true,
     .special = LLAMA_TOKENS,
     .more = {"▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"}},
    {.name = "GemmaTokenizer", .add_bos = true, .special = GEMMA_TOKENS},
    {.name = "GPT2Tokenizer",
     .special = {[WEIR_SPECIAL_BOS] = END, [WEIR_SPECIAL_EOS] = END, [WEIR_SPECIAL_UNK] = END}},
    {.name = "Qwen2Tokenizer",
     .special = {[WEIR_SPECIAL_EOS] = END, [WEIR_SPECIAL_UNK] = END, [WEIR_SPECIAL_PAD] = END}},
};

const weir__class *weir__class_find(const char *name) {
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, "Fast") == 0) n -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == n && strncmp(classes[i].name, name, n) == 0) return &classes[i];
    return NULL;
}
