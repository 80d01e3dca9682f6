/* generation_config.json. The ids that frame an answer are honoured. Fields that would make transformers'
 * `generate` do something else than sample from the model's distribution are refused by name. Fields that a
 * caller of weir sets for each request (temperature, top_k, lengths, …) are not applied. */
#include <string.h>

#include "host/formats/config/config.h"

const weir_field weir__generation_fields[] = {
    /* would change the tokens: refused unless neutral */
    {"forced_bos_token_id", WEIR_NEUTRAL_NULL},
    {"forced_eos_token_id", WEIR_NEUTRAL_NULL},
    {"forced_decoder_ids", WEIR_NEUTRAL_OFF},
    {"suppress_tokens", WEIR_NEUTRAL_OFF},
    {"begin_suppress_tokens", WEIR_NEUTRAL_OFF},
    {"bad_words_ids", WEIR_NEUTRAL_OFF},
    {"force_words_ids", WEIR_NEUTRAL_OFF},
    {"constraints", WEIR_NEUTRAL_OFF},
    {"sequence_bias", WEIR_NEUTRAL_OFF},
    {"stop_strings", WEIR_NEUTRAL_OFF},
    {"no_repeat_ngram_size", WEIR_NEUTRAL_OFF},
    {"encoder_no_repeat_ngram_size", WEIR_NEUTRAL_OFF},
    {"repetition_penalty", WEIR_NEUTRAL_ONE},
    {"encoder_repetition_penalty", WEIR_NEUTRAL_ONE},
    {"exponential_decay_length_penalty", WEIR_NEUTRAL_NULL},
    {"min_length", WEIR_NEUTRAL_OFF},
    {"min_new_tokens", WEIR_NEUTRAL_OFF},
    {"num_beams", WEIR_NEUTRAL_ONE},
    {"num_beam_groups", WEIR_NEUTRAL_ONE},
    {"diversity_penalty", WEIR_NEUTRAL_OFF},
    {"penalty_alpha", WEIR_NEUTRAL_OFF},
    {"typical_p", WEIR_NEUTRAL_ONE},
    {"epsilon_cutoff", WEIR_NEUTRAL_OFF},
    {"eta_cutoff", WEIR_NEUTRAL_OFF},
    {"guidance_scale", WEIR_NEUTRAL_ONE},
    {"watermarking_config", WEIR_NEUTRAL_NULL},
    {"token_healing", WEIR_NEUTRAL_OFF},
    {"dola_layers", WEIR_NEUTRAL_NULL},
    /* the caller's, per request */
    {"do_sample", WEIR_NEUTRAL_ANY},
    {"temperature", WEIR_NEUTRAL_ANY},
    {"top_k", WEIR_NEUTRAL_ANY},
    {"top_p", WEIR_NEUTRAL_ANY},
    {"min_p", WEIR_NEUTRAL_ANY},
    {"max_length", WEIR_NEUTRAL_ANY},
    {"max_new_tokens", WEIR_NEUTRAL_ANY},
    {"max_time", WEIR_NEUTRAL_ANY},
    {"num_return_sequences", WEIR_NEUTRAL_ANY},
    /* of beam search, which is refused above */
    {"early_stopping", WEIR_NEUTRAL_ANY},
    {"length_penalty", WEIR_NEUTRAL_ANY},
    /* how, not what */
    {"renormalize_logits", WEIR_NEUTRAL_ANY},
    {"remove_invalid_values", WEIR_NEUTRAL_ANY},
    {"use_cache", WEIR_NEUTRAL_ANY},
    {"cache_implementation", WEIR_NEUTRAL_ANY},
    {"cache_config", WEIR_NEUTRAL_ANY},
    {"return_legacy_cache", WEIR_NEUTRAL_ANY},
    {"prefill_chunk_size", WEIR_NEUTRAL_ANY},
    {"low_memory", WEIR_NEUTRAL_ANY},
    {"compile_config", WEIR_NEUTRAL_ANY},
    {"disable_compile", WEIR_NEUTRAL_ANY},
    {"output_attentions", WEIR_NEUTRAL_ANY},
    {"output_hidden_states", WEIR_NEUTRAL_ANY},
    {"output_scores", WEIR_NEUTRAL_ANY},
    {"output_logits", WEIR_NEUTRAL_ANY},
    {"return_dict_in_generate", WEIR_NEUTRAL_ANY},
    {"is_assistant", WEIR_NEUTRAL_ANY},
    {"num_assistant_tokens", WEIR_NEUTRAL_ANY},
    {"num_assistant_tokens_schedule", WEIR_NEUTRAL_ANY},
    {"assistant_confidence_threshold", WEIR_NEUTRAL_ANY},
    {"assistant_early_exit", WEIR_NEUTRAL_ANY},
    {"assistant_lookbehind", WEIR_NEUTRAL_ANY},
    {"target_lookbehind", WEIR_NEUTRAL_ANY},
    {"prompt_lookup_num_tokens", WEIR_NEUTRAL_ANY},
    {"max_matching_ngram_size", WEIR_NEUTRAL_ANY},
    {"transformers_version", WEIR_NEUTRAL_ANY},
    {NULL, WEIR_NEUTRAL_ANY},
};

static bool is_honoured(const char *key) {
    static const char *const names[] = {"decoder_start_token_id", "bos_token_id", "eos_token_id",
                                        "pad_token_id"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], key) == 0) return true;
    return false;
}

/* Instruction-tuned models are published with a repetition penalty (Qwen2.5: 1.05 to 1.1). Like temperature
 * and top_p it is a default for sampling, and like these it is not applied. */
bool weir__is_wish(weir_family_kind kind, const char *key) {
    return kind != WEIR_FAMILY_T5 && strcmp(key, "repetition_penalty") == 0;
}

/* null does not undo what config.json says: transformers fills such gaps from the model's config. */
static weir_status read_ids(const json_t *o, const char *label, weir_checkpoint *out, weir_err *err) {
    if (weir__is_set(o, "eos_token_id")) WEIR_TRY(weir__get_eos(o, out, label, err));
    if (weir__is_set(o, "pad_token_id")) WEIR_TRY(weir__get_pad(o, out, label, err));
    if (weir__is_set(o, "bos_token_id"))
        WEIR_TRY(weir__get_id(o, "bos_token_id", out, &out->bos_id, label, err));
    if (out->kind == WEIR_FAMILY_T5GEMMA && weir__is_set(o, "bos_token_id")) out->start_id = out->bos_id;
    if (out->kind != WEIR_FAMILY_DECODER && weir__is_set(o, "decoder_start_token_id"))
        return weir__get_id(o, "decoder_start_token_id", out, &out->start_id, label, err);
    return WEIR_OK;
}

static weir_status check_fields(json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (key[0] == '_' || is_honoured(key) || weir__is_wish(out->kind, key)) continue;
        WEIR_TRY(weir__check_field(NULL, key, value, label, out, err));
    }
    return WEIR_OK;
}

weir_status weir__generation_config_parse(const char *json, size_t bytes, const char *label,
                                          weir_checkpoint *out, weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    weir_status s = check_fields(root, label, out, err);
    if (s == WEIR_OK) s = read_ids(root, label, out, err);
    json_decref(root);
    return s;
}
