//! Why a head has its role, in a few words with numbers and sample sizes.

use super::category::Category;
use super::facts::FIRST;
use super::features::HeadFeatures;
use super::roles::{Role, Verdict};

/// A clause per role that holds, the main one first; for `mixed`, what came nearest.
pub fn evidence(features: &HeadFeatures, verdict: &Verdict) -> String {
    if let Some(lacking) = verdict.lacking {
        return format!("{} ({} of {} tokens evicted)", lacking.as_str(), features.evicted, features.seen);
    }
    let roles = std::iter::once(verdict.role).chain(verdict.also.iter().copied());
    let mut clauses: Vec<String> = roles.filter_map(|role| clause(role, features, verdict)).collect();
    if verdict.also.is_empty() && verdict.role == Role::Mixed {
        clauses.push(format!(
            "purity {}, old entries {}",
            percent(features.window.purity),
            percent(features.old_share)
        ));
        let near = verdict.margins.iter().filter(|(_, margin)| *margin > -0.3);
        if let Some((role, _)) = near.max_by(|a, b| a.1.total_cmp(&b.1)) {
            clauses.push(format!("nearest {}", role.as_str()));
        }
        clauses.extend(categories(features, verdict, &Category::ALL));
    }
    clauses.join("; ")
}

fn clause(role: Role, features: &HeadFeatures, verdict: &Verdict) -> Option<String> {
    let (window, front, frozen) = (&features.window, &features.front, &features.frozen);
    match role {
        Role::Sink => {
            let rank = features.sink.rank.map_or(String::new(), |rank| format!(", rank {:.1} %", rank * 100.0));
            Some(format!(
                "holds {} of the first {FIRST} (expected {}){rank}",
                features.sink.held(),
                percent(features.sink.expected)
            ))
        }
        Role::Window => Some(format!("last {} tokens, purity {}", window.width, percent(window.purity))),
        Role::DoubleWindow => window
            .modes
            .map(|[near, far]| format!("leave at {:.0} ({}) and {:.0} tokens", near.age, percent(near.share), far.age)),
        Role::Gist => categories(features, verdict, &Category::GIST),
        Role::Content => {
            let own = categories(features, verdict, &Category::CONTENT);
            own.or_else(|| categories(features, verdict, &[Category::Prompt, Category::Instruction]))
        }
        Role::Selector => Some(format!(
            "takes in {} of {} tokens, purity {}",
            percent(features.admission.share),
            features.admission.tokens,
            percent(window.purity)
        )),
        Role::FrontLoaded => {
            Some(format!("mean birth at {} of the text (n {})", percent(front.birth_percentile), front.entries))
        }
        Role::Frozen => Some(format!("unchanged since token {} ({} cuts)", frozen.since, frozen.cuts)),
        Role::Mixed | Role::NotEnoughEvidence => None,
    }
}

/// `sentence ends 62 % of old (5.1x, 21 of 34, q 1e-9)`, for each category of `family` that counts.
fn categories(features: &HeadFeatures, verdict: &Verdict, family: &[Category]) -> Option<String> {
    let mut told: Vec<(f64, String)> = Vec::new();
    for &(category, q) in verdict.categories.iter().filter(|(category, _)| family.contains(category)) {
        let Some(found) = features.enriched(category) else { continue };
        let ratio = found.ratio.unwrap_or(0.0);
        let sample = format!("{} of {}", found.kept, found.survivors);
        let (share, plural) = (percent(found.share), category.plural());
        told.push((found.share, format!("{plural} {share} of old ({ratio:.1}x, {sample}, q {q:.0e})")));
    }
    told.sort_by(|a, b| b.0.total_cmp(&a.0));
    (!told.is_empty()).then(|| told.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", "))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
