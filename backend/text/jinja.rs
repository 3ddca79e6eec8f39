//! The dialect of Jinja that chat templates are written in.
//!
//! Templates are written for Hugging Face's environment: Jinja2 with `trim_blocks`, `lstrip_blocks` and loop controls, Python
//! string methods, a `tojson` that does not escape HTML, and a few functions. This file makes minijinja that environment.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};

/// The name under which an environment holds its one template.
pub(super) const TEMPLATE: &str = "chat template";

/// The message of a template that called `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// Compiles `source`.
///
/// # Errors
/// When it has a syntax error.
pub(super) fn environment(source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(python_method);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)))
    });
    environment.add_function("strftime_now", strftime_now);
    environment.add_template_owned(TEMPLATE, without_generation_tags(source))?;
    Ok(environment)
}

/// Returns what the template said when it called `raise_exception`, if that is why it failed.
pub(super) fn raised(error: &Error) -> Option<&str> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Raised(message)) = error.downcast_ref() {
            return Some(message);
        }
        cause = error.source();
    }
    None
}

/// Where and why a template failed, e.g. `line 3: unknown filter: filter frobnicate is unknown`.
pub(super) struct Reason<'e>(pub(super) &'e Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.0.line() {
            write!(f, "line {line}: ")?;
        }
        // A syntax error already says so in the sentence around this; the other kinds carry information.
        match (self.0.kind(), self.0.detail()) {
            (ErrorKind::SyntaxError, Some(detail)) => f.write_str(detail),
            (kind, Some(detail)) => write!(f, "{kind}: {detail}"),
            (kind, None) => write!(f, "{kind}"),
        }
    }
}

/// Replaces `{% generation %}`, Hugging Face's mark around what an assistant says, by a condition that always holds.
///
/// The mark only tells training code which tokens to learn; it prints nothing. A condition keeps its white space rules.
fn without_generation_tags(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (before, tag) = (&rest[..start], &rest[start..start + length]);
        plain.push_str(before);
        match tag.trim_start_matches(['{', '%', '-', '+']).trim_end_matches(['-', '+']).trim() {
            "generation" => plain.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => plain.push_str(&tag.replace("endgeneration", "endif")),
            _ => plain.push_str(tag),
        }
        rest = &rest[start + length..];
    }
    plain.push_str(rest);
    plain
}

/// The methods of Python's values that templates call.
fn python_method(state: &mut State<'_, '_>, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    // Two that minijinja-contrib does not know (as of 3.1).
    if let (Some(text), [affix]) = (value.as_str(), arguments)
        && let Some(affix) = affix.as_str()
    {
        match method {
            "removeprefix" => return Ok(text.strip_prefix(affix).unwrap_or(text).into()),
            "removesuffix" => return Ok(text.strip_suffix(affix).unwrap_or(text).into()),
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
}

/// `tojson` as `json.dumps(…, ensure_ascii=False)` prints it.
fn tojson(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    // Accepted because templates pass them, with the values that hold here anyway.
    for option in ["ensure_ascii", "separators", "sort_keys"] {
        if options.has(option) {
            let _: Value = options.get(option)?;
        }
    }
    let json = minijinja::filters::tojson(value, indent, options)?;
    Ok(Value::from(unescape_html(json.as_str().unwrap_or_default())))
}

/// Undoes the escapes that make JSON safe inside HTML, and no others.
fn unescape_html(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let escaped = match rest.get(at..at + 6) {
            Some("\\u003c") => Some('<'),
            Some("\\u003e") => Some('>'),
            Some("\\u0026") => Some('&'),
            Some("\\u0027") => Some('\''),
            _ => None,
        };
        let length = match escaped {
            Some(c) => {
                plain.push(c);
                6
            }
            // Two at a time, so that the second half of an escaped backslash starts nothing.
            None => {
                let end = rest[at + 1..].chars().next().map_or(at + 1, |c| at + 1 + c.len_utf8());
                plain.push_str(&rest[at..end]);
                end - at
            }
        };
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    plain
}

/// The local date and time in Python's `strftime` notation.
fn strftime_now(format: &str) -> Result<String, Error> {
    // Checked first: formatting with an unknown specifier panics.
    let items = chrono::format::StrftimeItems::new(format)
        .parse()
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("{format:?} is not a date format")))?;
    Ok(chrono::Local::now().format_with_items(items.iter()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn render(source: &str, values: Value) -> Result<String, Error> {
        environment(source)?.get_template(TEMPLATE)?.render(values)
    }

    #[test]
    fn blocks_on_lines_of_their_own_leave_no_trace() -> anyhow::Result<()> {
        let source = "a\n    {% if true %}\nb\n    {% endif %}\nc\n";
        assert_eq!(render(source, context! {})?, "a\nb\nc");
        Ok(())
    }

    #[test]
    fn loops_can_be_left_and_continued() -> anyhow::Result<()> {
        let source = "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}";
        assert_eq!(render(source, context! {})?, "023");
        Ok(())
    }

    #[test]
    fn strings_have_the_methods_of_python() -> anyhow::Result<()> {
        let source = "{{ ' a'.strip() }}{{ 'a</t>b'.split('</t>')[-1] }}{{ 'xc'.removeprefix('x') }}{{ 'dx'.removesuffix('y').upper() }}";
        assert_eq!(render(source, context! {})?, "abcDX");
        Ok(())
    }

    #[test]
    fn generation_marks_print_nothing_and_keep_their_white_space_rules() -> anyhow::Result<()> {
        let source =
            "a \n{%- generation -%}\n b\n{%- endgeneration %}c {% generation %}d{%endgeneration%}{{ 'generation' }}";
        assert_eq!(render(source, context! {})?, "abc dgeneration");
        Ok(())
    }

    #[test]
    fn json_is_printed_as_python_prints_it() -> anyhow::Result<()> {
        let value = context! { text => "<a href='x'> & \\u003c \"é\"\n" };
        assert_eq!(render("{{ text | tojson }}", value.clone())?, r#""<a href='x'> & \\u003c \"é\"\n""#);
        assert_eq!(
            render("{{ [1, {'a': none}] | tojson(ensure_ascii=false) }}", value.clone())?,
            r#"[1, {"a": null}]"#
        );
        assert_eq!(render("{{ [1] | tojson(indent=4) }}", value)?, "[\n    1\n]");
        Ok(())
    }

    #[test]
    fn dates_follow_strftime_and_a_wrong_format_is_an_error() -> anyhow::Result<()> {
        let year = render("{{ strftime_now('%Y') }}", context! {})?;
        assert!(year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()), "{year}");
        let error = render("{{ strftime_now('%!') }}", context! {}).err().map(|error| Reason(&error).to_string());
        assert_eq!(error.as_deref(), Some("line 1: invalid operation: \"%!\" is not a date format"));
        Ok(())
    }

    #[test]
    fn an_exception_is_found_through_macros() {
        let source = "{% macro check() %}{{ raise_exception('no tools, please') }}{% endmacro %}{{ check() }}";
        let error = render(source, context! {}).expect_err("it raises");
        assert_eq!(raised(&error), Some("no tools, please"));
    }
}
