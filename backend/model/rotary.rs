//! Rotary position embedding at explicit, absolute positions.

use candle_core::{DType, Device, Result, Tensor};

use super::config::{ModelConfig, RopeScaling};

/// Rotates queries and keys. Tables are made for the positions of a pass, so that no context length is built in.
#[derive(Debug, Clone)]
pub struct RotaryEmbedding {
    short: Vec<f32>,
    long: Option<(usize, Vec<f32>)>,
    attention_factor: f32,
    rotary_dim: usize,
    head_dim: usize,
}

impl RotaryEmbedding {
    /// The embedding a configuration describes.
    pub fn new(config: &ModelConfig) -> Self {
        let frequencies: Vec<f32> = (0..config.rotary_dim / 2)
            .map(|i| 1.0 / (config.rope_theta as f32).powf(2.0 * i as f32 / config.rotary_dim as f32))
            .collect();
        let divided = |factors: &[f64]| frequencies.iter().zip(factors).map(|(f, &by)| f / by as f32).collect();
        let (short, long, attention_factor) = match &config.rope_scaling {
            RopeScaling::None => (frequencies, None, 1.0),
            RopeScaling::Linear { factor } => (frequencies.iter().map(|f| f / *factor as f32).collect(), None, 1.0),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                let scale = |f: &f32| llama3(*f, *factor, *low_freq_factor, *high_freq_factor, *original as f64);
                (frequencies.iter().map(scale).collect(), None, 1.0)
            }
            RopeScaling::LongRope { short, long, original, attention_factor } => {
                (divided(short), Some((*original, divided(long))), *attention_factor as f32)
            }
        };
        Self { short, long, attention_factor, rotary_dim: config.rotary_dim, head_dim: config.head_dim }
    }

    /// Inverse frequencies for a pass whose largest position is `last`: longrope changes over beyond the original
    /// context, for all positions of that pass; keys already cached stay as they were.
    pub fn inverse_frequencies(&self, last: usize) -> &[f32] {
        match &self.long {
            Some((original, long)) if last + 1 > *original => long,
            _ => &self.short,
        }
    }

    /// Factor on cos and sin.
    pub fn attention_factor(&self) -> f32 {
        self.attention_factor
    }

    /// cos and sin, each `(positions, rotary_dim / 2)` row after row.
    pub fn tables(&self, positions: std::ops::Range<usize>) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.inverse_frequencies(positions.end.saturating_sub(1));
        let mut cos = Vec::with_capacity(positions.len() * frequencies.len());
        let mut sin = Vec::with_capacity(positions.len() * frequencies.len());
        for position in positions {
            for frequency in frequencies {
                let angle = position as f32 * frequency;
                cos.push(angle.cos() * self.attention_factor);
                sin.push(angle.sin() * self.attention_factor);
            }
        }
        (cos, sin)
    }

    /// The tables of several sequences' new positions, one after the other, on `device`.
    ///
    /// # Errors
    /// When the device cannot hold them.
    pub fn prepare(&self, spans: &[std::ops::Range<usize>], dtype: DType, device: &Device) -> Result<Rotation> {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for span in spans {
            let (c, s) = self.tables(span.clone());
            cos.extend(c);
            sin.extend(s);
        }
        let shape = (cos.len() / (self.rotary_dim / 2), self.rotary_dim / 2);
        Ok(Rotation {
            cos: Tensor::from_vec(cos, shape, device)?.to_dtype(dtype)?,
            sin: Tensor::from_vec(sin, shape, device)?.to_dtype(dtype)?,
            rotary_dim: self.rotary_dim,
            head_dim: self.head_dim,
        })
    }
}

/// cos and sin of one pass.
#[derive(Debug, Clone)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
    rotary_dim: usize,
    head_dim: usize,
}

impl Rotation {
    /// Cosines, `(tokens, rotary_dim / 2)`.
    pub fn cos(&self) -> &Tensor {
        &self.cos
    }

    /// Sines, `(tokens, rotary_dim / 2)`.
    pub fn sin(&self) -> &Tensor {
        &self.sin
    }

    /// Rotates `xs`: `(heads, tokens, head_dim)`, contiguous. Dimensions past `rotary_dim` pass through.
    ///
    /// # Errors
    /// When the shapes do not fit the tables.
    pub fn apply(&self, xs: &Tensor) -> Result<Tensor> {
        let rotated = |xs: &Tensor| candle_nn::rotary_emb::rope(&xs.unsqueeze(0)?, &self.cos, &self.sin)?.squeeze(0);
        if self.rotary_dim == self.head_dim {
            return rotated(xs);
        }
        let turned = rotated(&xs.narrow(2, 0, self.rotary_dim)?.contiguous()?)?;
        let passed = xs.narrow(2, self.rotary_dim, self.head_dim - self.rotary_dim)?;
        Tensor::cat(&[turned, passed], 2)
    }
}

impl Rotation {
    /// The transposed rotation: turns the other way, scaled alike. It carries gradients back.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn inverse(&self) -> Result<Self> {
        Ok(Self { sin: self.sin.neg()?, ..self.clone() })
    }
}

/// Llama 3's stretching of one frequency.
fn llama3(frequency: f32, factor: f64, low: f64, high: f64, original: f64) -> f32 {
    let wavelength = 2.0 * std::f64::consts::PI / f64::from(frequency);
    if wavelength < original / high {
        frequency
    } else if wavelength > original / low {
        frequency / factor as f32
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        ((1.0 - smooth) * f64::from(frequency) / factor + smooth * f64::from(frequency)) as f32
    }
}
