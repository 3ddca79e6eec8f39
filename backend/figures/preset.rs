//! Which figures there are, and what may be asked of each.

use serde::{Deserialize, Serialize};

use super::FigureError;

/// Which figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Retention over kept and evicted, a column per head: the paper's Figure 4.
    Fig4,
    /// Every head's kept triangle, layers by heads.
    Grid,
    /// The text, kept tokens bold and blue: the paper's Figure 21.
    Text,
    /// Scores of a few tokens as they fade, against what their head demanded at its cuts.
    Lifeline,
    /// What the heads of every layer do, and all heads over two scores.
    Roles,
    /// Entries that every head holds as the text grows.
    Budget,
    /// Losses, soft cache size, half-lives and learning rate of a training of gates.
    Training,
}

use Preset::{Budget, Fig4, Grid, Lifeline, Roles, Text, Training};

/// Every flag of `trimkv-trace figure` that shapes a figure, and the presets that heed it.
const FLAGS: [(&str, &[Preset]); 16] = [
    ("width", &Preset::ALL),
    ("font-size", &Preset::ALL),
    ("dpi", &Preset::ALL),
    ("heads", &[Fig4, Text, Lifeline]),
    ("layer", &[Fig4, Text, Lifeline]),
    ("head", &[Fig4, Text, Lifeline]),
    ("position", &[Lifeline]),
    ("colours", &[Fig4, Grid, Budget, Training]),
    ("pool", &[Fig4, Grid, Budget]),
    ("at", &[Text]),
    ("circle", &[Text]),
    ("brace", &[Fig4]),
    ("letters", &[Fig4, Lifeline, Roles, Budget, Training]),
    ("retention", &[Lifeline]),
    ("x", &[Roles]),
    ("y", &[Roles]),
];

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 7] = [Fig4, Grid, Text, Lifeline, Roles, Budget, Training];

    /// The name in commands, addresses and specs.
    pub fn as_str(self) -> &'static str {
        match self {
            Fig4 => "fig4",
            Grid => "grid",
            Text => "text",
            Lifeline => "lifeline",
            Roles => "roles",
            Budget => "budget",
            Training => "training",
        }
    }

    /// The preset of a name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn named(name: &str) -> Result<Self, FigureError> {
        let found = Self::ALL.into_iter().find(|preset| preset.as_str() == name);
        found.ok_or_else(|| FigureError::Preset(name.to_owned()))
    }

    /// Refuses a flag that would be ignored.
    ///
    /// # Errors
    /// When no figure, or another than this, heeds it.
    pub fn heeds(self, flag: &str) -> Result<(), FigureError> {
        let users = FLAGS.iter().find(|(name, _)| *name == flag).map(|(_, users)| *users);
        match users {
            None => Err(FigureError::Flag(flag.to_owned())),
            Some(users) if users.contains(&self) => Ok(()),
            Some(users) => {
                let users = users.iter().map(|preset| preset.as_str()).collect::<Vec<_>>().join(", ");
                Err(FigureError::Unused { flag: flag.to_owned(), preset: self, users })
            }
        }
    }
}
