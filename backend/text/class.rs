//! The kind of text a token is, judged from its own characters alone.

use std::fmt;

/// What kind of text a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenClass {
    /// A control token of the model, e.g. `<|im_end|>`.
    Special,
    /// White space with at least one line break.
    Newline,
    /// White space within a line.
    Space,
    /// `.`, `!`, `?`, `…`, `。` and their kin, closing quotes and brackets included.
    SentenceEnd,
    /// Commas, brackets, quotes, dashes, currency signs, Markdown marks.
    Punctuation,
    /// Digits without letters: `3`, ` 12`, `３`, `½`.
    Digit,
    /// Mathematics and code: `+`, `->`, `&&`, `≤`, `\frac`.
    Operator,
    /// Anything with a letter of any script.
    Word,
    /// Emoji, box drawing, text that is not there (yet).
    Other,
}

impl TokenClass {
    /// Every class, in declaration order.
    pub const ALL: [Self; 9] = [
        Self::Special,
        Self::Newline,
        Self::Space,
        Self::SentenceEnd,
        Self::Punctuation,
        Self::Digit,
        Self::Operator,
        Self::Word,
        Self::Other,
    ];

    /// The class of a name that [`TokenClass::as_str`] gives.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// The name written to the trace, e.g. `"sentence_end"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Special => "special",
            Self::Newline => "newline",
            Self::Space => "space",
            Self::SentenceEnd => "sentence_end",
            Self::Punctuation => "punctuation",
            Self::Digit => "digit",
            Self::Operator => "operator",
            Self::Word => "word",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for TokenClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Tells the class of a token from its text; the first rule that applies decides.
///
/// 1. `special` tokens are [`TokenClass::Special`], whatever they say.
/// 2. White space is [`TokenClass::Newline`] if it breaks a line, else [`TokenClass::Space`]. From here on white space
///    around the text is ignored: ` the` is a word, `.\n` ends a sentence.
/// 3. A backslash and two or more letters is a LaTeX command: [`TokenClass::Operator`].
/// 4. One letter of any script, or one combining mark, makes a [`TokenClass::Word`]: `x2`, `don't`, `.length`, `猫`.
/// 5. One numeral makes a [`TokenClass::Digit`]: `3.14`, `1,000`, `²`. Spelled numbers (`三`) are letters.
/// 6. Sentence ends, alone or with what closes after them (`."`, `?)`, `.**`), are [`TokenClass::SentenceEnd`].
/// 7. Two or more `*` or `-` and nothing else are [`TokenClass::Punctuation`]: in what language models write they are
///    emphasis, rules and dashes far more often than powers and decrements.
/// 8. One operator makes an [`TokenClass::Operator`]: `!=`, `</`, `+=`, `→`.
/// 9. One mark of punctuation makes [`TokenClass::Punctuation`]; so `{`, `}`, `$` and `\` are.
/// 10. The rest is [`TokenClass::Other`]: emoji, U+FFFD, and the empty text of a token that ends inside a character.
///
/// A token is judged without its neighbours, so the `.` in a number that is split as `3`, `.`, `14` ends a sentence.
pub fn classify(text: &str, special: bool) -> TokenClass {
    if special {
        return TokenClass::Special;
    }
    if !text.is_empty() && text.chars().all(char::is_whitespace) {
        return match text.contains(is_line_break) {
            true => TokenClass::Newline,
            false => TokenClass::Space,
        };
    }
    let core = text.trim();
    let has = |kind: fn(char) -> bool| core.chars().any(kind);
    if is_latex_command(core) {
        TokenClass::Operator
    } else if has(is_letter) {
        TokenClass::Word
    } else if has(char::is_numeric) {
        TokenClass::Digit
    } else if ends_sentence(core) {
        TokenClass::SentenceEnd
    } else if core.len() >= 2 && (core.chars().all(|c| c == '*') || core.chars().all(|c| c == '-')) {
        TokenClass::Punctuation
    } else if has(is_operator) {
        TokenClass::Operator
    } else if has(is_punctuation) {
        TokenClass::Punctuation
    } else {
        TokenClass::Other
    }
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// `\frac`, `\times`, and `\frac{`: what follows the name must be neither letter nor digit. One letter is not enough,
/// because `\n` and `\t` are escapes in code.
fn is_latex_command(core: &str) -> bool {
    let Some(rest) = core.strip_prefix('\\') else {
        return false;
    };
    let name = rest.chars().take_while(char::is_ascii_alphabetic).count();
    name >= 2 && !rest[name..].contains(char::is_alphanumeric)
}

/// Letters, and the marks that are written on letters.
///
/// `char::is_alphabetic` covers most vowel signs, but not viramas, nuktas, tone marks and accents; a byte-level tokenizer
/// splits words right before them. The list is short because the standard library knows the rest.
fn is_letter(c: char) -> bool {
    c.is_alphabetic()
        || matches!(c,
            '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5bd}' | '\u{64b}'..='\u{65f}'                  // accents, Hebrew, Arabic
            | '\u{93c}' | '\u{94d}' | '\u{951}'..='\u{954}' | '\u{9bc}' | '\u{9cd}'                // Devanagari, Bengali
            | '\u{a3c}' | '\u{a4d}' | '\u{abc}' | '\u{acd}' | '\u{b3c}' | '\u{b4d}' | '\u{bcd}'    // Gurmukhi to Tamil
            | '\u{c4d}' | '\u{cbc}' | '\u{ccd}' | '\u{d4d}' | '\u{dca}'                            // Telugu to Sinhala
            | '\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{eba}' | '\u{ec8}'..='\u{ece}'                // Thai, Lao
            | '\u{f39}' | '\u{1037}' | '\u{1039}' | '\u{103a}' | '\u{17c9}'..='\u{17d3}'           // Tibetan, Burmese, Khmer
            | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{3099}' | '\u{309a}' | '\u{fe20}'..='\u{fe2f}')
}

/// True when `core` holds a sentence end and otherwise only what may close after one.
fn ends_sentence(core: &str) -> bool {
    // Pairs that close only together: Markdown emphasis, and LaTeX's `\)` and `\]`.
    let core = core.replace("**", "").replace("\\)", "").replace("\\]", "");
    core.contains(is_terminator) && core.chars().all(|c| is_terminator(c) || is_closer(c))
}

fn is_terminator(c: char) -> bool {
    ".!?…‥‽⁇⁈⁉。．！？｡؟۔।॥։။።፧។".contains(c)
}

fn is_closer(c: char) -> bool {
    ")]}\"'`$’”»›」』）］】》〉〕".contains(c)
}

fn is_operator(c: char) -> bool {
    matches!(c,
        '+' | '-' | '*' | '/' | '=' | '<' | '>' | '^' | '&' | '|' | '~' | '%'
        | '¬' | '±' | '×' | '÷' | '⁄' | '⁺'..='⁼' | '₊'..='₌'
        | '＋' | '－' | '＊' | '／' | '＝' | '＜' | '＞' | '＾' | '％' | '＆'
        | '\u{2190}'..='\u{21ff}'                              // arrows
        | '\u{2200}'..='\u{22ff}'                              // mathematical operators, `−` included
        | '\u{27c0}'..='\u{27e5}' | '\u{27f0}'..='\u{27ff}'    // more of both
        | '\u{2900}'..='\u{2982}' | '\u{2999}'..='\u{29d7}' | '\u{2a00}'..='\u{2aff}')
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || is_terminator(c)
        || is_closer(c)
        || matches!(c,
            '¡' | '§' | '«' | '¶' | '·' | '¿' | '¢'..='¥' | '\u{20a0}'..='\u{20cf}'                // Latin, currencies
            | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'                                    // dashes, quotes, bullets
            | '\u{55a}'..='\u{55f}' | '\u{5be}' | '\u{5c0}' | '\u{5c3}' | '\u{5f3}' | '\u{5f4}'    // Armenian, Hebrew
            | '\u{60c}' | '\u{60d}' | '\u{61b}' | '\u{66a}'..='\u{66d}' | '\u{970}'                // Arabic, Devanagari
            | '\u{e4f}' | '\u{e5a}' | '\u{e5b}' | '\u{104a}' | '\u{1361}'..='\u{1368}'             // Thai, Burmese, Ethiopic
            | '\u{17d4}'..='\u{17da}' | '\u{27e6}'..='\u{27ef}' | '\u{2e00}'..='\u{2e5d}'          // Khmer, brackets
            | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{3030}' | '\u{30fb}'
            | '\u{fe30}'..='\u{fe6b}' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}'          // full width
            | '\u{ff3b}'..='\u{ff40}' | '\u{ff5b}'..='\u{ff65}' | '\u{ffe0}' | '\u{ffe1}' | '\u{ffe5}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_all(class: TokenClass, texts: &[&str]) {
        for text in texts {
            assert_eq!(classify(text, false), class, "{text:?}");
        }
    }

    #[test]
    fn a_special_token_is_special_whatever_it_says() {
        for text in ["<|im_end|>", "", "\n", "word", "."] {
            assert_eq!(classify(text, true), TokenClass::Special, "{text:?}");
        }
        assert_all(TokenClass::Word, &["<|im_end|>", "<think>"]);
    }

    #[test]
    fn white_space_with_a_line_break_is_a_newline() {
        assert_all(TokenClass::Newline, &["\n", "\n\n", " \n", "\r\n", "\n    ", "\u{2028}"]);
        assert_all(TokenClass::Space, &[" ", "  ", "\t", "\u{a0}", "\u{3000}"]);
    }

    #[test]
    fn one_letter_of_any_script_makes_a_word() {
        assert_all(
            TokenClass::Word,
            &[
                "the",
                " the",
                "The\n",
                "'s",
                " don't",
                "x2",
                "2nd",
                "_name",
                ".length",
                "(self",
                "é",
                " naïve",
                "ß",
                "猫",
                "三",
                "々",
                "ー",
                "の",
                "한국",
                "مرحبا",
                "َ",
                "हिन्दी",
                "्",
                "ि",
                "ไทย",
                "่",
                "עִבְרִית",
                "λ",
                "ℝ",
                "\\n",
                "0xFF",
                "e\u{301}",
            ],
        );
        assert_all(TokenClass::Word, &["\u{301}"]);
    }

    #[test]
    fn numerals_without_letters_are_digits() {
        assert_all(TokenClass::Digit, &["3", " 12", "３", "3.14", "1,000", "-5", "½", "²", "٣", "(1)", "1.", "50%"]);
    }

    #[test]
    fn a_sentence_end_may_carry_what_closes_after_it() {
        assert_all(
            TokenClass::SentenceEnd,
            &[
                ".", ".\n", ".\n\n", " .", "!", "?", "...", "…", "?!", "。", "！", "？", "」。", "।", "؟", "۔", ".\"",
                "?)", ".”", ").", ".**", "**.", "$.", "}.", "\\).", "\\].\n",
            ],
        );
    }

    #[test]
    fn operators_come_from_mathematics_code_and_latex() {
        assert_all(
            TokenClass::Operator,
            &[
                "+", " -", "*", "/", "=", " <", ">", "^", "==", "!=", "&&", "||", "->", " =>", "+=", "</", "/>",
                "<!--", "|", "%", "±", "×", "÷", "≤", "≈", "−", "→", "∑", "√", "∞", "¬", "＋", "\\frac", " \\times",
                "\\frac{", "\\leq\n", "=\"", ")=",
            ],
        );
    }

    #[test]
    fn the_other_marks_are_punctuation() {
        assert_all(
            TokenClass::Punctuation,
            &[
                ",", ",\n", ";", ":", "::", "(", ")", "){", "{", "}", "$", "$$", "\\", "\\[", "\\\\", "\"", " '", "`",
                "```", "#", " ##", "@", "_", "**", " **", "***", "---", "--", "–", "—", "•", "、", "，", "：", "（",
                "「", "»", "¿", "،", "€", "£", ");\n", "](",
            ],
        );
    }

    #[test]
    fn what_is_left_is_other() {
        assert_all(
            TokenClass::Other,
            &["", "\u{fffd}", "🙂", " 👍🏽", "❤\u{fe0f}", "─", "■", "©", "°", "\u{200d}", "\0"],
        );
    }

    #[test]
    fn every_class_has_a_name_of_its_own() {
        let mut names = TokenClass::ALL.map(TokenClass::as_str);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(TokenClass::SentenceEnd.to_string(), "sentence_end");
    }
}
