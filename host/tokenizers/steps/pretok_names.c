/* Pre-tokenizers by the name that a GGUF file gives (tokenizer.ggml.pre). The patterns are those of the
 * models' tokenizer.json as llama.cpp runs them (llm_tokenizer_bpe in src/llama-vocab.cpp), which are not
 * always the same: its ids are what users of GGUF files know. */
#include <string.h>

#include "host/tokenizers/steps/pretok.h"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* Contractions in either case, but without the folding that would take U+017F for an s. */
#define CONTRACTIONS "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS(numbers) \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
/* Letters that are not a … z, then letters that are not A … Z: cases, told apart in ASCII only. */
#define LOWER "[^\\r\\n\\p{L}\\p{N}]?[^\\P{L}a-z]*[^\\P{L}A-Z]+"
#define UPPER "[^\\r\\n\\p{L}\\p{N}]?[^\\P{L}a-z]+[^\\P{L}A-Z]*"
#define DEEPSEEK3_WORDS                                                                                 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" \
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define HAN_TO_HANGUL "[一-龥ࠀ-一가-퟿]+"

enum { MAX_STEPS = 5 };

typedef struct recipe {
    const char *steps[MAX_STEPS + 1];
    bool ignore_merges;
    const char *names; /* each between two spaces */
} recipe;

static const recipe recipes[] = {
    {{GPT2},
     false,
     " gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert mpt olmo jais "
     "trillion "},
    {{WORDS("\\p{N}{1,3}")}, true, " llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 "},
    {{WORDS("\\p{N}{1,3}")}, false, " dbrx smaug-bpe chatglm-bpe "},
    {{WORDS("\\p{N}{1,3}")}, true, " glm4 "},
    {{WORDS("\\p{N}")}, false, " qwen2 deepseek-r1-qwen stablelm2 hunyuan grok-2 "},
    {{CONTRACTIONS
      "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES},
     false,
     " qwen35 "},
    {{"\\p{N}", GPT2}, false, " starcoder refact command-r smollm codeshell exaone minerva-7b "},
    {{"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN_TO_HANGUL, "\\p{N}"}, false, " deepseek-coder "},
    {{"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3_WORDS}, false, " deepseek-v3 hunyuan-dense "},
    {{"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, false, " falcon "},
    {{"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, false, " default "},
    {{LOWER "|" UPPER "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES}, true, " tekken "},
    {{LOWER "(?:" CONTRACTIONS ")?|" UPPER "(?:" CONTRACTIONS
            ")?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES},
     false,
     " gpt-4o llama4 kanana2 "},
};

static const recipe *find(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        const char *at = recipes[i].names;
        while ((at = memmem(at, strlen(at), name, n)) != NULL) {
            if (at[-1] == ' ' && at[n] == ' ') return &recipes[i];
            at++;
        }
    }
    return NULL;
}

weir_status weir__pretok_add_named(weir__pretok *p, const char *name, size_t bytes, bool *ignore_merges,
                                   weir_err *err) {
    const recipe *r = bytes > 0 && !memchr(name, ' ', bytes) ? find(name, bytes) : NULL;
    if (!r)
        return weir_fail(err, WEIR_ENOTSUP, "pre-tokenizer \"%.*s\" is not supported",
                         bytes < 60 ? (int)bytes : 60, name);
    for (int i = 0; r->steps[i]; i++)
        WEIR_TRY(weir__pretok_add(p, r->steps[i], strlen(r->steps[i]), false, WEIR__SPLIT_ISOLATED, err));
    *ignore_merges = r->ignore_merges;
    return WEIR_OK;
}
