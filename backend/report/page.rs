//! The report's page: the template, the front end and the data put together.

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The program was built without a file of its front end.
    #[error(
        "this program was built without its front end ({0}); build it with `npm run build` in frontend/, then again"
    )]
    Asset(String),
    /// The template failed.
    #[error("the report's page cannot be written: {0}")]
    Template(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage<'a> {
    title: &'a str,
    facts: &'a str,
    style: &'a str,
    script: &'a str,
    data: &'a str,
}

/// The page. `facts` is the run in one sentence, for readers without scripts; `data` is what [`super::columns::packed`]
/// gives; `asset` reads a file of the front end.
///
/// # Errors
/// When the front end is not in this program.
pub fn page(
    title: &str,
    facts: &str,
    data: &[u8],
    asset: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<String, PageError> {
    let bytes = |name: &str| asset(name).ok_or_else(|| PageError::Asset(name.to_owned()));
    let text = |name: &str| bytes(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let style = with_fonts(&text("app.css")?, &bytes)?;
    // Nothing in a script may end the element it stands in.
    let script = text("app.js")?.replace("</script", "<\\/script").replace("<!--", "<\\!--");
    let data = STANDARD.encode(data);
    Ok(ReportPage { title, facts, style: &style, script: &script, data: &data }.render()?)
}

/// Puts the fonts that a style sheet names into it.
fn with_fonts(style: &str, bytes: &impl Fn(&str) -> Result<Vec<u8>, PageError>) -> Result<String, PageError> {
    let mut parts = style.split("url(");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(')').unwrap_or((part, ""));
        let name = name.trim_matches(['"', '\'']).trim_start_matches("./");
        out.push_str("url(data:font/woff2;base64,");
        out.push_str(&STANDARD.encode(bytes(name)?));
        out.push(')');
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(name: &str) -> Option<Vec<u8>> {
        match name {
            "app.css" => Some(b"@font-face{src:url(./fonts/a.woff2) format(\"woff2\")}p{color:red}".to_vec()),
            "app.js" => Some(b"const markup = '</script>';".to_vec()),
            "fonts/a.woff2" => Some(vec![1, 2, 3]),
            _ => None,
        }
    }

    #[test]
    fn nothing_in_a_report_is_fetched_and_no_text_is_markup() {
        let page = page("<b>run</b>", "kept 64 of 512 & more", b"data", asset).unwrap();
        assert!(page.contains("url(data:font/woff2;base64,AQID) format"));
        assert!(!page.contains("<b>run") && page.contains("&#60;b&#62;run") || page.contains("&lt;b&gt;run"));
        assert!(page.contains(r"'<\/script>'"));
        for outside in ["http://", "https://", " src=", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_program_without_its_front_end_says_so() {
        let error = page("run", "", b"", |_| None).unwrap_err();
        assert!(error.to_string().contains("app.css"), "{error}");
    }
}
