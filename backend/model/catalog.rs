//! The checkpoints that the authors of TRIM-KV have released, so that their names need not be typed in full.

use super::hub::RepoId;

/// Who publishes the released checkpoints.
const OWNER: &str = "ngocbh";

/// The released checkpoints by the names that are known; the vision ones are known by the start of their name only.
pub const RELEASED: [&str; 9] = [
    "ngocbh/TrimKV-Qwen3-1.7B-Math",
    "ngocbh/TrimKV-Qwen3-4B-Math",
    "ngocbh/TrimKV-Qwen3-8B-Math",
    "ngocbh/TrimKV-Qwen3-14B-Math",
    "ngocbh/TrimKV-Qwen3-4B-Instruct-2507",
    "ngocbh/TrimKV-Phi-3-mini-128k-instruct",
    "ngocbh/TrimKV-DeepSeek-R1-Distill-Llama-8B",
    "ngocbh/DBTrimKV-Qwen3-4B-Math",
    "ngocbh/DBTrimKV-Qwen3-4B-Instruct-2507",
];

/// Start of the names of the checkpoints for vision models.
const VISION: &str = "DBTrimKV-Qwen3-VL-";

/// Similarity, of 1 for equal names, below which a name is no misspelling of another.
const MISSPELT: f64 = 0.6;

/// A name that is neither a released checkpoint's nor a repository's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownModel {
    /// A released checkpoint has almost this name.
    #[error("there is no checkpoint {name:?}: did you mean {suggestion}?")]
    Misspelt {
        /// The name as given.
        name: String,
        /// The nearest released checkpoint.
        suggestion: &'static str,
    },
    /// Nothing is called like this.
    #[error("{name:?} is no model: give a folder, a name on the hub as owner/name, or a released checkpoint such as {}", RELEASED[1])]
    Unlike {
        /// The name as given.
        name: String,
    },
}

/// Finds the repository that `name` stands for: a released checkpoint with or without its owner, in any case, or any
/// other repository written `owner/name`.
///
/// # Errors
/// When the name has no owner and is not a released checkpoint's, or is no name at all.
pub fn resolve(name: &str) -> Result<RepoId, UnknownModel> {
    let unknown = || match suggest(name) {
        Some(suggestion) => UnknownModel::Misspelt { name: name.to_owned(), suggestion },
        None => UnknownModel::Unlike { name: name.to_owned() },
    };
    let is_vision = name.get(..VISION.len()).is_some_and(|start| start.eq_ignore_ascii_case(VISION));
    let full_name = match RELEASED.iter().find(|released| is_named(released, name)) {
        Some(released) => (*released).to_owned(),
        None if name.contains('/') => name.to_owned(),
        None if is_vision => format!("{OWNER}/{name}"),
        None => return Err(unknown()),
    };
    full_name.parse().map_err(|_| unknown())
}

/// The released checkpoint whose name is nearest to `name`, if any is near.
pub fn suggest(name: &str) -> Option<&'static str> {
    let wanted = short(name).to_ascii_lowercase();
    let likeness =
        |released: &str| strsim::normalized_damerau_levenshtein(&wanted, &short(released).to_ascii_lowercase());
    let best = RELEASED
        .into_iter()
        .map(|released| (likeness(released), released))
        .reduce(|a, b| if b.0 > a.0 { b } else { a });
    best.filter(|(likeness, _)| *likeness >= MISSPELT).map(|(_, released)| released)
}

fn is_named(released: &str, name: &str) -> bool {
    released.eq_ignore_ascii_case(name) || short(released).eq_ignore_ascii_case(name)
}

/// A name without its owner.
fn short(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_released_name_is_found_with_and_without_owner_in_any_case() {
        for released in RELEASED {
            for name in [released, short(released), &released.to_uppercase(), &short(released).to_lowercase()] {
                assert_eq!(resolve(name).unwrap().as_str(), released);
            }
            assert_eq!(suggest(released), Some(released));
        }
    }

    #[test]
    fn other_repositories_are_taken_as_written() {
        for name in ["ngocbh/TrimKV-Qwen3-32B-Math", "ngocbh/DBTrimKV-Qwen3-VL-Any", "Qwen/Qwen3-4B"] {
            assert_eq!(resolve(name).unwrap().as_str(), name);
        }
        assert_eq!(resolve("DBTrimKV-Qwen3-VL-Any").unwrap().as_str(), "ngocbh/DBTrimKV-Qwen3-VL-Any");
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_released_one() {
        let near = [
            ("TrimKV-Qwen3-4B", "ngocbh/TrimKV-Qwen3-4B-Math"),
            ("trimkv-qwen-8b-math", "ngocbh/TrimKV-Qwen3-8B-Math"),
            ("TrimKV-Qwen3-4B-Maht", "ngocbh/TrimKV-Qwen3-4B-Math"),
            ("ngobch/DBTrimKV-Qwen3-4B-Instruct", "ngocbh/DBTrimKV-Qwen3-4B-Instruct-2507"),
            ("TrimKV-Phi3-mini-128k", "ngocbh/TrimKV-Phi-3-mini-128k-instruct"),
        ];
        for (name, expected) in near {
            assert_eq!(suggest(name), Some(expected), "{name}");
        }
        for name in ["", "gpt2", "meta-llama/Llama-3.1-8B"] {
            assert_eq!(suggest(name), None, "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_what_to_write_instead() {
        let misspelt = resolve("TrimKV-Qwen3-4B").unwrap_err().to_string();
        assert_eq!(misspelt, r#"there is no checkpoint "TrimKV-Qwen3-4B": did you mean ngocbh/TrimKV-Qwen3-4B-Math?"#);
        for name in ["gpt2", "", "../gpt2", "a b/c", "DBTrimKV-Qwen3-VL-a b"] {
            assert!(resolve(name).is_err(), "{name}");
        }
    }
}
