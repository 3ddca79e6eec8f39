//! From what was asked, as flags of a command or names in a query, to a spec: one reading for both.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NameError, StrDeserializer};

use super::FigureError;
use super::preset::Preset;
use super::score::HeadScore;
use super::spec::{Spec, inches};
use crate::text::class::TokenClass;

impl Spec {
    /// The spec of a figure called `output`, of the trace at `trace`, as asked by (flag, value) pairs such as
    /// `("width", "3.25in")`: the flags of `trimkv-trace figure` without their dashes. Lists may come as one value with
    /// commas or as several pairs; a switch is on when its value is empty or `true`.
    ///
    /// # Errors
    /// When a flag is unknown or has no use in this figure, or its value cannot be read or is out of range.
    pub fn asked<'a>(
        preset: Preset,
        trace: &str,
        output: &str,
        asked: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, FigureError> {
        let mut spec = Self::new(preset, trace, output);
        let (mut layer, mut head): (Option<u16>, Option<u16>) = (None, None);
        let mut axes: [Option<HeadScore>; 2] = [None; 2];
        for (flag, value) in asked {
            preset.heeds(flag)?;
            let list = || value.split(',').map(str::trim).filter(|item| !item.is_empty());
            match flag {
                "width" => spec.width_in = inches(value)?,
                "font-size" => spec.font_pt = number(flag, value)?,
                "dpi" => spec.dpi = number(flag, value)?,
                "heads" => spec.heads.extend(list().map(str::to_owned)),
                "layer" => layer = Some(number(flag, value)?),
                "head" => head = Some(number(flag, value)?),
                "position" => {
                    let found: Result<Vec<u32>, _> = list().map(|item| number(flag, item)).collect();
                    spec.positions.extend(found?);
                }
                "colours" => spec.colours = choice(flag, value, "viridis, cividis, grey")?,
                "pool" => spec.pooling = choice(flag, value, "max, mean")?,
                "at" => spec.at = Some(number(flag, value)?),
                "circle" => spec.circle.extend(list().map(class).collect::<Result<Vec<_>, _>>()?),
                "brace" => spec.braces.push(value.parse()?),
                "letters" => spec.letters = switch(flag, value)?,
                "retention" => spec.retention = switch(flag, value)?,
                "x" => axes[0] = Some(choice(flag, value, &HeadScore::names())?),
                "y" => axes[1] = Some(choice(flag, value, &HeadScore::names())?),
                _ => return Err(FigureError::Flag(flag.to_owned())),
            }
        }
        match (layer, head) {
            (None, None) => {}
            (Some(layer), Some(head)) => spec.heads.push(format!("L{layer}H{head}")),
            _ => return Err(FigureError::HalfAHead),
        }
        if let [Some(_), _] | [_, Some(_)] = axes {
            let [x, y] = HeadScore::DEFAULT;
            spec.scores = Some([axes[0].unwrap_or(x), axes[1].unwrap_or(y)]);
        }
        spec.check()?;
        Ok(spec)
    }
}

fn number<T: std::str::FromStr>(flag: &str, value: &str) -> Result<T, FigureError> {
    value.trim().parse().map_err(|_| FigureError::Number { flag: flag.to_owned(), value: value.to_owned() })
}

/// A value of an enum by the name it has in specs.
fn choice<T: for<'de> Deserialize<'de>>(flag: &str, value: &str, choices: &str) -> Result<T, FigureError> {
    let name: StrDeserializer<'_, NameError> = value.into_deserializer();
    T::deserialize(name).map_err(|_| FigureError::Choice {
        flag: flag.to_owned(),
        value: value.to_owned(),
        choices: choices.to_owned(),
    })
}

fn class(name: &str) -> Result<String, FigureError> {
    let known = TokenClass::ALL.map(TokenClass::as_str);
    if known.contains(&name) { Ok(name.to_owned()) } else { Err(FigureError::Class(name.to_owned(), known.join(", "))) }
}

fn switch(flag: &str, value: &str) -> Result<bool, FigureError> {
    match value {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(FigureError::Choice {
            flag: flag.to_owned(),
            value: value.to_owned(),
            choices: "true, false".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(preset: Preset, pairs: &[(&str, &str)]) -> Result<Spec, FigureError> {
        Spec::asked(preset, "t", "f.pdf", pairs.iter().copied())
    }

    #[test]
    fn lists_may_come_in_one_value_or_in_several() {
        let once = asked(Preset::Lifeline, &[("heads", "L0H1,L2H3"), ("position", "3, 17")]).unwrap();
        let twice =
            asked(Preset::Lifeline, &[("heads", "L0H1"), ("position", "3"), ("heads", "L2H3"), ("position", "17")]);
        assert_eq!(Ok(once), twice);
        let one = asked(Preset::Lifeline, &[("layer", "2"), ("head", "3"), ("letters", ""), ("retention", "true")]);
        let one = one.unwrap();
        assert_eq!((one.heads, one.letters, one.retention), (vec!["L2H3".to_owned()], true, true));
    }

    #[test]
    fn a_flag_that_would_be_ignored_is_refused_and_so_is_one_that_does_not_exist() {
        for (preset, flag, value) in [
            (Preset::Fig4, "circle", "digit"),
            (Preset::Text, "brace", "0-3:x"),
            (Preset::Grid, "heads", "L0H0"),
            (Preset::Roles, "colours", "grey"),
            (Preset::Training, "pool", "max"),
            (Preset::Fig4, "retention", ""),
            (Preset::Budget, "x", "purity"),
        ] {
            let said = asked(preset, &[(flag, value)]).unwrap_err().to_string();
            assert!(said.starts_with(&format!("{} makes no use of --{flag}", preset.as_str())), "{said}");
        }
        assert_eq!(asked(Preset::Fig4, &[("colour", "grey")]), Err(FigureError::Flag("colour".to_owned())));
        let spec = Spec { circle: vec!["digit".to_owned()], ..Spec::new(Preset::Fig4, "t", "f") };
        assert!(matches!(spec.check(), Err(FigureError::Unused { .. })), "a spec is held to the same");
    }

    #[test]
    fn values_that_cannot_be_read_are_named_with_what_can() {
        for (pairs, words) in [
            (&[("dpi", "many")][..], ["--dpi", "\"many\""]),
            (&[("colours", "red")], ["\"red\"", "viridis, cividis, grey"]),
            (&[("letters", "maybe")], ["--letters", "true, false"]),
            (&[("layer", "3")], ["--layer", "--head"]),
            (&[("width", "inf")], ["inf", "from 1 to 40"]),
            (&[("width", "-3in")], ["-3", "from 1 to 40"]),
            (&[("font-size", "NaN")], ["NaN", "from 4 to 24"]),
        ] {
            let said = asked(Preset::Fig4, pairs).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        assert!(asked(Preset::Roles, &[("x", "beauty")]).unwrap_err().to_string().contains("purity"));
    }
}
