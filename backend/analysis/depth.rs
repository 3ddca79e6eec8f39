//! Roles by depth: what the heads of each layer do.

use super::reading::HeadReading;
use super::roles::Role;

/// How many heads of one layer have each role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRoles {
    /// The layer.
    pub layer: u16,
    /// Heads, over all runs that were read.
    pub heads: usize,
    /// Heads with each role as the one word, in the order of [`Role::ALL`].
    pub counts: [usize; Role::ALL.len()],
}

impl LayerRoles {
    /// Heads with a role.
    pub fn of(&self, role: Role) -> usize {
        Role::ALL.iter().zip(self.counts).find(|(of, _)| **of == role).map_or(0, |(_, count)| count)
    }
}

/// The layers of a run, or of several runs of one model together, from the first.
pub fn roles_by_layer<'a>(heads: impl IntoIterator<Item = &'a HeadReading>) -> Vec<LayerRoles> {
    let mut layers: Vec<LayerRoles> = Vec::new();
    for reading in heads {
        let layer = usize::from(reading.facts.head.layer);
        while layers.len() <= layer {
            layers.push(LayerRoles { layer: layers.len() as u16, heads: 0, counts: Default::default() });
        }
        let row = &mut layers[layer];
        row.heads += 1;
        let place = Role::ALL.iter().position(|role| *role == reading.verdict.role);
        place.into_iter().for_each(|place| row.counts[place] += 1);
    }
    layers
}
