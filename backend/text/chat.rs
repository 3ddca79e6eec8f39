//! Conversations, as the model's own chat template writes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Value};
use serde::Deserialize;

use super::jinja::{self, Reason};
use super::marks;
use super::role::{ContentSpan, Role, prompt_roles};
use super::tokenizer::Encoded;

/// Why a conversation could not be written as a prompt.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The tokenizer comes without a template.
    #[error("the tokenizer has no chat template; add --raw to send the prompt as it is")]
    Missing,
    /// A file is there but cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `tokenizer_config.json` is not JSON.
    #[error("tokenizer_config.json is damaged; fetch it again")]
    Damaged(#[from] serde_json::Error),
    /// The template cannot be compiled.
    #[error("the chat template has a syntax error in {0}")]
    Syntax(String),
    /// The template called `raise_exception`.
    #[error("the chat template refuses this conversation: {0}")]
    Refused(String),
    /// The template failed in another way.
    #[error("the chat template failed in {0}")]
    Render(String),
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Speaker {
    /// The name that chat templates know, e.g. `"user"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Speaker,
    /// What they say.
    pub content: String,
}

impl Message {
    /// Puts words in somebody's mouth.
    pub fn new(role: Speaker, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

// An object rather than a map, because maps do not remember that `role` comes first and templates may print them.
impl Object for Message {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(self.role.as_str().into()),
            "content" => Some(self.content.as_str().into()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text to encode with [`Specials::AsWritten`](super::Specials::AsWritten): it spells out its special tokens.
    pub text: String,
    /// Where the messages are in it, without the white space around them and without what an assistant thought before its
    /// answer; none if the template changed them beyond recognition.
    pub contents: Option<Vec<ContentSpan>>,
}

impl Prompt {
    /// Tells the role of every token of the encoded text, where the template lets us know.
    pub fn roles(&self, tokens: &[Encoded]) -> Option<Vec<Role>> {
        self.contents.as_ref().map(|contents| prompt_roles(&self.text, contents, tokens))
    }
}

/// The template that turns a conversation into the text its model was trained on.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// `bos_token`, `eos_token` and the like, by name.
    special_tokens: Vec<(String, String)>,
}

impl ChatTemplate {
    /// Loads the template of the model in `folder`: `chat_template.jinja`, or else the one in `tokenizer_config.json`.
    ///
    /// # Errors
    /// When there is no template, a file is damaged or unreadable, or the template has a syntax error.
    pub fn from_folder(folder: &Path) -> Result<Self, ChatError> {
        let read = |name: &str| {
            let path = folder.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(ChatError::Read { path, source }),
            }
        };
        Self::from_parts(read("tokenizer_config.json")?.as_deref(), read("chat_template.jinja")?.as_deref())
    }

    /// Builds a template from the contents of `tokenizer_config.json` and of `chat_template.jinja`, which wins.
    ///
    /// # Errors
    /// When there is no template in either, the configuration is not JSON, or the template has a syntax error.
    pub fn from_parts(config: Option<&str>, jinja: Option<&str>) -> Result<Self, ChatError> {
        let config: serde_json::Value = config.map(serde_json::from_str).transpose()?.unwrap_or_default();
        let source = jinja.or_else(|| configured_template(&config)).ok_or(ChatError::Missing)?;
        let environment = jinja::environment(source).map_err(|error| ChatError::Syntax(Reason(&error).to_string()))?;
        Ok(Self { environment, special_tokens: special_tokens(&config) })
    }

    /// Writes `messages` as text.
    ///
    /// With `add_generation_prompt` the text ends where the assistant's answer begins. `thinking` asks a reasoning model to
    /// think or not to; none leaves it to the template.
    ///
    /// # Errors
    /// When the template refuses the conversation or fails.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        thinking: Option<bool>,
    ) -> Result<String, ChatError> {
        let messages: Vec<Value> = messages.iter().cloned().map(Value::from_object).collect();
        let mut values = vec![
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            // Hugging Face passes these even when there are none, and templates ask whether they are `none`.
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        values.extend(self.special_tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str()))));
        if let Some(thinking) = thinking {
            // The names that Qwen, GLM and SmolLM (first), Granite and DeepSeek (second) gave to the same switch.
            values.extend(["enable_thinking", "thinking"].map(|name| (name, Value::from(thinking))));
        }
        let rendered = self
            .environment
            .get_template(jinja::TEMPLATE)
            .and_then(|template| template.render(Value::from_pairs(values)));
        rendered.map_err(|error| match jinja::raised(&error) {
            Some(message) => ChatError::Refused(message.to_owned()),
            None => ChatError::Render(Reason(&error).to_string()),
        })
    }

    /// Writes `messages` as text, as [`ChatTemplate::render`] does, and finds them in it.
    ///
    /// # Errors
    /// When the template refuses the conversation or fails.
    pub fn prompt(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        thinking: Option<bool>,
    ) -> Result<Prompt, ChatError> {
        let text = self.render(messages, add_generation_prompt, thinking)?;
        let marked =
            marks::mark(messages).and_then(|marked| self.render(&marked, add_generation_prompt, thinking).ok());
        let contents = marked
            .and_then(|marked| marks::read_marks(&marked, &text, messages))
            .or_else(|| marks::search(&text, messages));
        Ok(Prompt { text, contents })
    }
}

/// The template in a `tokenizer_config.json`: a string, or a list of named ones.
fn configured_template(config: &serde_json::Value) -> Option<&str> {
    match config.get("chat_template")? {
        serde_json::Value::Array(named) => named.iter().find(|entry| entry["name"] == "default")?["template"].as_str(),
        template => template.as_str(),
    }
}

/// The special tokens in a `tokenizer_config.json`: strings, or objects that hold one in `content`.
fn special_tokens(config: &serde_json::Value) -> Vec<(String, String)> {
    let entries = config.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
    entries
        .filter_map(|(name, token)| {
            let content = token.as_str().or_else(|| token.get("content")?.as_str())?;
            Some((name.clone(), content.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_by(error: Result<impl fmt::Debug, ChatError>) -> String {
        error.expect_err("it fails").to_string()
    }

    #[test]
    fn without_a_template_the_way_out_is_named() {
        let expected = "the tokenizer has no chat template; add --raw to send the prompt as it is";
        for config in [
            None,
            Some("{}"),
            Some(r#"{"chat_template": null}"#),
            Some(r#"{"chat_template": [{"name": "rag", "template": ""}]}"#),
        ] {
            assert_eq!(said_by(ChatTemplate::from_parts(config, None)), expected);
        }
        assert_eq!(
            said_by(ChatTemplate::from_parts(Some("{"), None)),
            "tokenizer_config.json is damaged; fetch it again"
        );
    }

    #[test]
    fn the_file_beside_the_configuration_wins() -> anyhow::Result<()> {
        let config = r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "default"}]}"#;
        assert_eq!(ChatTemplate::from_parts(Some(config), None)?.render(&[], false, None)?, "default");
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("tokenizer_config.json"), config)?;
        fs::write(folder.path().join("chat_template.jinja"), "file")?;
        assert_eq!(ChatTemplate::from_folder(folder.path())?.render(&[], false, None)?, "file");
        Ok(())
    }

    #[test]
    fn special_tokens_may_be_strings_or_objects() -> anyhow::Result<()> {
        let config = r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null, "add_bos_token": true}"#;
        let template =
            ChatTemplate::from_parts(Some(config), Some("{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}"))?;
        assert_eq!(template.render(&[], false, None)?, "<s></s>False");
        Ok(())
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = said_by(ChatTemplate::from_parts(None, Some("a\n{% if %}")));
        assert!(error.starts_with("the chat template has a syntax error in line 2: "), "{error}");
        let error = said_by(ChatTemplate::from_parts(None, Some("{% frobnicate %}")));
        assert_eq!(error, "the chat template has a syntax error in line 1: unknown statement frobnicate");
    }

    #[test]
    fn a_template_that_refuses_is_quoted() -> anyhow::Result<()> {
        let template = ChatTemplate::from_parts(None, Some("{{ raise_exception('roles must alternate') }}"))?;
        assert_eq!(
            said_by(template.render(&[], true, None)),
            "the chat template refuses this conversation: roles must alternate"
        );
        let template = ChatTemplate::from_parts(None, Some("\n{{ messages.frobnicate() }}"))?;
        let error = said_by(template.render(&[], true, None));
        assert!(error.starts_with("the chat template failed in line 2: unknown method"), "{error}");
        Ok(())
    }

    #[test]
    fn a_message_prints_its_role_first() -> anyhow::Result<()> {
        let source = "{{ messages[0] | tojson }}{{ messages[0].get('role') }}{{ 'tool_calls' in messages[0] }}{{ messages[0] is mapping }}";
        let template = ChatTemplate::from_parts(None, Some(source))?;
        let rendered = template.render(&[Message::new(Speaker::User, "hi")], false, None)?;
        assert_eq!(rendered, r#"{"role": "user", "content": "hi"}userFalseTrue"#);
        Ok(())
    }
}
