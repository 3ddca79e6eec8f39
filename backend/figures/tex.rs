//! The LaTeX snippet beside a figure.

/// A float that includes `file` at `width_in` inches, with a caption draft and a label.
pub fn snippet(file: &str, width_in: f32, caption: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    // LaTeX needs a package of its own for SVG.
    let (command, file) = if file.ends_with(".svg") { ("includesvg", stem) } else { ("includegraphics", file) };
    let star = if width_in > 3.6 && width_in < 5.4 || width_in > 5.6 { "*" } else { "" };
    format!(
        "\\begin{{figure{star}}}[t]\n  \\centering\n  \\{command}[width={width_in}in]{{{file}}}\n  \\caption{{{}}}\n  \
         \\label{{fig:{}}}\n\\end{{figure{star}}}\n",
        escape(caption),
        stem.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).collect::<String>(),
    )
}

/// Plain text as LaTeX.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => safe.push_str("\\textbackslash{}"),
            '^' => safe.push_str("\\textasciicircum{}"),
            '~' => safe.push_str("\\textasciitilde{}"),
            '#' | '$' | '%' | '&' | '_' | '{' | '}' => safe.extend(['\\', character]),
            'β' => safe.push_str("$\\beta$"),
            '−' => safe.push_str("$-$"),
            '×' => safe.push_str("$\\times$"),
            '≤' => safe.push_str("$\\le$"),
            '\n' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_underscores_and_percent_signs_compile() {
        let text = snippet("fig_4.pdf", 5.5, "50 % of run_1 {x}: β");
        assert!(text.contains("\\includegraphics[width=5.5in]{fig_4.pdf}"));
        assert!(text.contains("\\caption{50 \\% of run\\_1 \\{x\\}: $\\beta$}") && text.contains("\\label{fig:fig4}"));
    }
}
