/* Fields by which derivatives of the supported families change the computation. They come from three sources:
 * the configuration classes of transformers 4.57, llama.cpp's converter, and forks that keep the model_type
 * of a family. The tables of the families come first and may honour such a field. */
#include <string.h>

#include "host/formats/config/config.h"

/* Names with a blank after each, and what their value must be to change nothing. */
static const struct {
    weir_neutral neutral;
    const char *names;
} VARIANTS[] = {
    /* attention: which positions it sees */
    {WEIR_NEUTRAL_OFF,
     "attention_chunk_size attn_temperature_tuning attention_window attention_window_size "
     "attn_window_size window_size local_attention local_window_size interleaved_sliding_window "
     "sliding_window_layers sliding_window_context use_swa swa_layers global_attn_every_n_layers "
     "full_attention_interval num_global_layers global_attn_idx use_bidirectional_attention "
     "bidirectional bidirectional_attention prefix_lm use_attention_sinks attention_sinks "
     "num_attention_sinks attention_sink_size use_dual_attention mem_layers mem_attention_grouping "
     "cross_attention_layers cross_layer_interval cross_attention "},
    {WEIR_NEUTRAL_TRUE, "is_causal causal causal_attention "},
    /* attention: how it computes */
    {WEIR_NEUTRAL_OFF,
     "use_attention_bias attn_bias attention_out_bias qkv_bias use_qkv_bias add_qkv_bias query_bias "
     "key_bias value_bias use_qk_norm qk_norm qk_layernorm qk_layer_norms use_qk_layernorm attn_qk_norm "
     "clip_qkv use_diff_attn lambda_init lambda_std_dev attn_output_gate use_attention_gate "
     "gated_attention use_gated_attention headwise_attn_output_gate elementwise_attn_output_gate "
     "attn_logit_softcapping attn_logit_softcap attention_logit_cap attn_soft_cap linear_num_key_heads "
     "linear_num_value_heads kv_lora_rank q_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim "
     "num_kv_shared_layers use_cla cla_share_factor share_att_key "},
    {WEIR_NEUTRAL_NULL,
     "attention_multiplier attention_scale attn_scale softmax_scale attention_softmax_scale query_scale "
     "attention_scaling query_pre_attn_scalar "},
    /* positions */
    {WEIR_NEUTRAL_OFF,
     "rope_interleave rope_interleaved rotary_interleaved use_interleaved_rope use_mrope use_dynamic_ntk "
     "use_logn_attn logn_attn use_yarn yarn_scaling no_rope_layers no_rope_layer_interval "
     "nope_layer_interval use_nope alibi use_alibi rotary_emb_scale_base rotary_dim rope_dim "
     "use_positional_embedding use_absolute_position_embeddings has_relative_attention_bias use_rel_pos "
     "relative_attention position_biased_input position_buckets "},
    {WEIR_NEUTRAL_NULL, "local_rope_theta rope_local_base_freq rope_global_base_freq "},
    {WEIR_NEUTRAL_ONE,
     "partial_rotary_factor rotary_pct rope_pct rope_percent rotary_percentage rotary_emb_fraction "
     "rope_ratio rope_scaling_factor rope_condense_ratio interpolate_factor full_attn_mod "},
    {WEIR_NEUTRAL_TRUE, "use_rope use_rotary use_rotary_embedding rotary "},
    /* scales of embedding, residual stream and logits */
    {WEIR_NEUTRAL_ONE,
     "embedding_multiplier embedding_scale embeddings_scale embed_scale scale_emb "
     "embedding_multiplier_scale input_embedding_multiplier residual_multiplier residual_scale "
     "logit_scale logits_scale logits_scaling lm_head_multiplier output_multiplier "
     "output_multiplier_scale key_multiplier attention_in_multiplier attention_out_multiplier "
     "attn_output_multiplier mup_width_scale mup_width_multiplier mup_embeddings_multiplier "
     "mup_attn_multiplier mup_output_alpha mup_scale_factor width_scale "},
    {WEIR_NEUTRAL_NULL, "scale_depth dim_model_base mlp_multipliers ssm_multipliers "},
    {WEIR_NEUTRAL_OFF,
     "scale_embedding scale_embeddings normalize_embedding normalize_embeddings rescale_embeddings "
     "use_mup mup use_mup_scaling final_logit_softcapping logit_softcap logit_softcapping "
     "logits_soft_cap logit_soft_cap output_logit_softcap "},
    /* blocks: norms, biases, residual paths, order */
    {WEIR_NEUTRAL_OFF,
     "use_bias bias use_biases add_bias_linear mlp_bias ffn_bias lm_head_bias norm_bias layer_norm_bias "
     "parallel_attn parallel_attention parallel_residual use_parallel_residual parallel_block "
     "apply_residual_connection_post_layernorm sandwich_norm use_post_norm post_norm norm_after "
     "norm_reorder swin_norm do_layer_norm_before lm_head_norm embedding_norm use_embedding_norm "
     "layer_scale_init_value num_hidden_groups inner_group_num total_ut_steps num_recurrent_layers "
     "mean_recurrence num_loops loop_num skip_layers "},
    {WEIR_NEUTRAL_TRUE, "no_bias pre_norm use_gated_mlp gated_mlp use_swiglu swiglu glu is_gated_act "},
    /* mixtures of experts */
    {WEIR_NEUTRAL_OFF,
     "num_experts num_local_experts n_routed_experts n_shared_experts num_shared_experts moe_num_experts "
     "moe_num_shared_experts num_experts_per_tok num_experts_per_token moe_topk moe_k "
     "moe_intermediate_size moe_ffn_hidden_size moe_layers moe_layer_interval "
     "shared_expert_intermediate_size first_k_dense_replace mlp_only_layers is_moe use_moe moe "
     "moe_config ffn_config zero_expert_num interleave_moe_layer_step "},
    /* layers of other kinds */
    {WEIR_NEUTRAL_OFF,
     "block_types layers_block_type block_configs hybrid_override_pattern hybrid_layer_ids is_hybrid "
     "attn_layer_indices attn_layer_period full_attn_idxs mamba_d_state mamba_d_ssm mamba_n_heads "
     "mamba_expand use_mamba ssm_cfg ssm_in_multiplier state_size conv_L_cache lru_width "
     "altup_num_inputs laurel_rank hidden_size_per_layer_input vocab_size_per_layer_input "
     "activation_sparsity_pattern "},
    /* adapters, prompts that are vectors, packed weights */
    {WEIR_NEUTRAL_OFF,
     "adapters adapter_config adapter_fusion adapter_fusions adapter_len adapter_layer adapter_layers "
     "add_adapter pre_seq_len num_virtual_tokens prompt_tuning prefix_tuning load_in_4bit load_in_8bit "
     "quantization_bit quant_mode quant_method use_bitlinear "},
};

static bool holds(const char *names, const char *key) {
    const size_t n = strlen(key);
    for (const char *at = names; *at; at = strchr(at, ' ') + 1)
        if (strncmp(at, key, n) == 0 && at[n] == ' ') return true;
    return false;
}

bool weir__variant_field(const char *key, weir_neutral *out) {
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++) {
        if (!holds(VARIANTS[i].names, key)) continue;
        *out = VARIANTS[i].neutral;
        return true;
    }
    return false;
}
