"""What torch, flash-attn, JAX, xFormers, vLLM, FlashInfer and Keras call the options of attention, and what they are called here."""

from collections.abc import Mapping
from itertools import chain

_SAME: dict[str, str] = {
    "scale": "softmax_scale sm_scale attn_scale qk_scale score_scale scaling scaling_factor scale_factor",
    "softcap": "soft_cap logits_soft_cap logit_soft_cap logit_cap logits_softcap attn_logits_soft_cap attn_logit_softcapping tanh_softcap",
    "bias": "attn_bias attention_bias score_bias position_bias rel_pos_bias relative_position_bias rpb",
    "alibi": "alibi_slopes alibi_slope slopes use_alibi alibi_bias",
    "causal": "is_causal use_causal_mask causal_mask is_decoder",
    "offset": "q_offset query_offset causal_offset q_start kv_offset diagonal_offset",
    "kv_lens": "key_value_seq_lengths kv_seq_lengths kv_seq_lens kv_seqlens kv_seqlen kv_lengths kv_len kv_length seq_lens seq_lens_k "
    "seqlens seqlens_k seqlen_k cache_seqlens seqused_k context_lens context_lengths key_lengths k_lens lengths valid_lens",
    "dropout": "dropout_p p_dropout dropout_rate dropout_prob attn_dropout attention_dropout attention_probs_dropout_prob",
    "rng": "seed dropout_rng dropout_seed generator random_seed prng key_rng",
    "Br": "block_q block_m block_size_q block_size_m br",
    "Bc": "block_k block_n block_kv block_size_k block_size_n bc",
    "splits": "num_splits n_splits num_kv_splits kv_splits split_k",
    "sinks": "s_aux sink learnable_sink attention_sinks",
    "algorithm": "implementation backend attn_implementation kernel method",
    "machine": "device gpu hardware",
}  # fmt: skip

_ADVICE: dict[str, str] = {
    "attn_mask attention_mask": "give mask where it is boolean (True: the key is seen), or bias where it is added to the scores",
    "mask_mod": "give mask, a boolean array, True where a key is seen",
    "score_mod": "give bias, alibi or softcap",
    "key_padding_mask padding_mask src_key_padding_mask": "give kv_lens, how many keys each batch element has, or mask of shape (batch, 1, 1, n_k), True "
    "where a key is seen",
    "window_size local_window_size window_left window_right window_size_left window_size_right left_window_size right_window_size "
    "attention_window": "give window=(left, right), how many keys a query sees before and after its own; None for no bound, where "
    "others write -1",
    "sliding_window sliding_window_size": "give window=(sliding_window - 1, 0): here a window does not count the query's own key",
    "enable_gqa group num_groups n_rep num_kv_heads num_heads num_key_value_heads num_key_value_groups num_queries_per_kv": "leave it out; "
    "the heads of the arrays decide, and K and V may have fewer than Q",
    "cu_seqlens cu_seqlens_q cu_seqlens_k cu_seq_lens cu_seq_lens_q cu_seq_lens_k query_start_loc max_seqlen "
    "max_seqlen_q max_seqlen_k "
    "seqused_q query_seq_lengths q_seq_lens seq_lens_q q_lens": "sequences are not packed here; pad them to (batch, heads, N, d) and "
    "give kv_lens for the keys, or run each by itself",
    "block_table block_tables page_table page_size kv_cache k_cache v_cache paged_kv_cache": "pages are for sa.paged; give "
    "machine.run(sa.paged, Q, sa.pool(K), sa.pool(V), table=..., lens=...)",
    "return_lse return_softmax_lse return_residual return_residuals": "leave it out; every run has .lse",
    "return_attn_probs return_softmax return_debug_mask need_weights output_attentions return_weights return_attention_scores": "leave it out; "
    "the kernels 'naive' and 'unfused_chain' take return_P=True in machine.run",
    "query key value q k v": "the arrays come first, by position",
    "tensor_layout qkv_format layout input_layout batch_first": "leave it out; arrays are (batch, heads, N, d)",
    "deterministic": "leave it out; every run is deterministic",
    "training is_training": "leave it out; give dropout=0 where no weights should be dropped",
    "precision dtype out_dtype": "leave it out; the type of the arrays decides, and .astype(...) changes it",
}  # fmt: skip

SYNONYMS: Mapping[str, str] = dict(
    chain.from_iterable(((name, ours) for name in names.split()) for ours, names in _SAME.items())
) | dict(chain.from_iterable(((name, advice) for name in names.split()) for names, advice in _ADVICE.items()))
"""Their name -> ours, or a sentence that says what to do."""

IN_RUN: Mapping[str, str] = {name: "seed" if ours == "rng" else ours for name, ours in SYNONYMS.items()} | {"rng": "seed"}
"""The same for `machine.run`, which takes the seed itself."""
