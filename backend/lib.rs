//! See what a memory-bounded KV cache keeps and forgets.
