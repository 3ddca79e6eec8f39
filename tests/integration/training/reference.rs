//! Soft cache sizes and their gradients against the authors' code. (Its attention is the older, multiplicative form;
//! only the sizes are common to both.)

use candle_core::{Device, Tensor};
use trimkv_trace::training::soft_size::{pull_soft_size, soft_size};

use crate::golden;

/// Rows of `(batch, kv_heads, width)`.
fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.flatten(0, 1).unwrap().to_device(&Device::Cpu).unwrap().to_vec2().unwrap()
}

fn largest_difference(found: &[Vec<f32>], expected: &[Vec<f32>]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let pairs = || found.iter().flatten().zip(expected.iter().flatten());
    assert_eq!(found.iter().flatten().count(), expected.iter().flatten().count());
    let difference = pairs().map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    (difference, pairs().map(|(_, e)| e.abs()).fold(0.0, f32::max))
}

#[test]
fn soft_sizes_and_their_gradients_are_the_authors() {
    for case in ["gated_attention_0", "gated_attention_0_tail5", "gated_attention_1", "gated_attention_2"] {
        let tensors = golden::tensors(&format!("training/{case}.safetensors"));
        let log_betas = rows(&tensors["log_beta"]);
        let expected = rows(&tensors["capacity"]);
        let (keys, queries) = (log_betas[0].len(), expected[0].len());
        // In one case only the last queries are there.
        let sizes: Vec<Vec<f32>> = log_betas.iter().map(|row| soft_size(row)[keys - queries..].to_vec()).collect();
        let (off, most) = largest_difference(&sizes, &expected);
        println!("{case}: soft size differs by {off:.1e} of {most:.1}");
        assert!(off <= 1e-5 * most.max(1.0), "{case}");

        let pulled: Vec<Vec<f32>> = log_betas
            .iter()
            .zip(rows(&tensors["cot_capacity"]))
            .map(|(log_beta, upstream)| {
                let mut whole = vec![0.0; keys - queries];
                whole.extend(upstream);
                let mut into = vec![0.0; keys];
                pull_soft_size(log_beta, &whole, &mut into);
                into
            })
            .collect();
        let (off, most) = largest_difference(&pulled, &rows(&tensors["grad_log_beta_capacity"]));
        println!("{case}: its gradient differs by {off:.1e} of {most:.1}");
        assert!(off <= 1e-5 * most, "{case}");
    }
}
