//! Chat templates of the models that people run, and the roles of the tokens they lead to.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use trimkv_trace::text::{ChatError, ChatTemplate, Message, Role, Speaker, Specials, TextShares, TextTokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn template(name: &str, config: &str) -> anyhow::Result<ChatTemplate> {
    let source = std::fs::read_to_string(fixtures().join("chat").join(name))?;
    Ok(ChatTemplate::from_parts(Some(config), Some(&source))?)
}

fn system(content: &str) -> Message {
    Message::new(Speaker::System, content)
}

fn user(content: &str) -> Message {
    Message::new(Speaker::User, content)
}

fn assistant(content: &str) -> Message {
    Message::new(Speaker::Assistant, content)
}

/// The contents that were found in a prompt, with their roles.
fn contents(
    template: &ChatTemplate,
    messages: &[Message],
    thinking: Option<bool>,
) -> anyhow::Result<Vec<(Role, String)>> {
    let prompt = template.prompt(messages, true, thinking)?;
    let spans = prompt.contents.context("the template hides its messages")?;
    Ok(spans.into_iter().map(|span| (span.role, prompt.text[span.bytes].to_owned())).collect())
}

#[test]
fn qwen3_thinks_unless_told_not_to() -> anyhow::Result<()> {
    let qwen = template("qwen3.jinja", "{}")?;
    let messages = [system("Be brief."), user("Hi")];
    let open = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(qwen.render(&messages, true, None)?, open);
    assert_eq!(qwen.render(&messages, true, Some(true))?, open);
    assert_eq!(qwen.render(&messages, true, Some(false))?, format!("{open}<think>\n\n</think>\n\n"));
    Ok(())
}

#[test]
fn qwen3_forgets_what_it_thought_in_earlier_turns() -> anyhow::Result<()> {
    let qwen = template("qwen3.jinja", "{}")?;
    let messages = [user("1+1?"), assistant("<think>\neasy\n</think>\n\n2"), user("user")];
    let expected = "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\nuser<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(qwen.render(&messages, true, None)?, expected);
    let found = contents(&qwen, &messages, None)?;
    assert_eq!(
        found,
        [(Role::User, "1+1?".to_owned()), (Role::Assistant, "2".to_owned()), (Role::User, "user".to_owned())]
    );
    Ok(())
}

#[test]
fn qwen3_keeps_the_thoughts_of_the_last_turn() -> anyhow::Result<()> {
    let qwen = template("qwen3.jinja", "{}")?;
    let messages = [user("1+1?"), assistant("<think>\neasy\n</think>\n\n2")];
    let expected = "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\neasy\n</think>\n\n2<|im_end|>\n";
    assert_eq!(qwen.render(&messages, false, None)?, expected);
    Ok(())
}

#[test]
fn llama_always_opens_with_a_system_turn_and_trims() -> anyhow::Result<()> {
    let llama = template("llama-3.1.jinja", r#"{"bos_token": "<|begin_of_text|>"}"#)?;
    let head = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
    let tail = "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
    assert_eq!(llama.render(&[user("  Hi\n")], true, None)?, format!("{head}{tail}"));
    let messages = [system(" Be brief.\n"), user(" Hi")];
    assert_eq!(llama.render(&messages, true, None)?, format!("{head}Be brief.{tail}"));
    let found = contents(&llama, &messages, None)?;
    assert_eq!(found, [(Role::System, "Be brief.".to_owned()), (Role::User, "Hi".to_owned())]);
    Ok(())
}

#[test]
fn deepseek_distills_begin_their_answer_with_a_thought() -> anyhow::Result<()> {
    let config = r#"{"bos_token": {"__type": "AddedToken", "content": "<｜begin▁of▁sentence｜>", "lstrip": false}}"#;
    let deepseek = template("deepseek-r1-distill.jinja", config)?;
    let messages = [system("Be brief."), user("a"), assistant("<think>x</think>b"), user("c")];
    let expected = "<｜begin▁of▁sentence｜>Be brief.<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜><｜User｜>c<｜Assistant｜><think>\n";
    assert_eq!(deepseek.render(&messages, true, None)?, expected);
    let found = contents(&deepseek, &messages, None)?;
    let roles: Vec<Role> = found.iter().map(|(role, _)| *role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User]);
    assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<String>(), "Be brief.abc");
    Ok(())
}

#[test]
fn phi_ends_a_finished_conversation_with_its_last_token() -> anyhow::Result<()> {
    let phi = template("phi-3.jinja", r#"{"bos_token": "<s>", "eos_token": "<|endoftext|>"}"#)?;
    let messages = [system("Be brief."), user("Hi"), assistant("Hello")];
    let turns = "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n";
    assert_eq!(phi.render(&messages, false, None)?, format!("{turns}<|endoftext|>"));
    assert_eq!(phi.render(&messages, true, None)?, format!("{turns}<|assistant|>\n"));
    Ok(())
}

#[test]
fn mistral_moves_the_system_message_and_insists_on_turns() -> anyhow::Result<()> {
    let mistral = template("mistral.jinja", r#"{"bos_token": "<s>", "eos_token": "</s>"}"#)?;
    let messages = [system("Be brief."), user("a"), assistant("b"), user("c")];
    assert_eq!(mistral.render(&messages, true, None)?, "<s>[INST] a[/INST] b</s>[INST] Be brief.\n\nc[/INST]");
    let roles: Vec<Role> = contents(&mistral, &messages, None)?.into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::System, Role::User]);
    let refused = mistral.prompt(&[user("a"), user("b")], true, None);
    let Err(ChatError::Refused(message)) = refused else {
        anyhow::bail!("{refused:?}");
    };
    assert!(message.starts_with("After the optional system message, conversation roles must alternate"), "{message}");
    Ok(())
}

/// The whole road: messages, text, tokens, roles, and the text of the tokens back again.
#[test]
fn every_token_of_the_tiny_model_has_a_role_and_a_share_of_the_text() -> anyhow::Result<()> {
    let tiny = fixtures().join("tiny");
    let tokenizer = TextTokenizer::from_file(&tiny.join("tokenizer.json"))?;
    let messages = [system("You are a poet."), user("user: grüß mich 🙂"), assistant("Hallo!"), user("\nassistant\n")];
    let prompt = ChatTemplate::from_folder(&tiny)?.prompt(&messages, true, None)?;
    let tokens = tokenizer.encode(&prompt.text, Specials::AsWritten)?;
    let roles = prompt.roles(&tokens).context("the template hides its messages")?;

    let mut shares = TextShares::new(&tokenizer);
    let mut said: Vec<(Role, String)> = Vec::new();
    for (token, role) in tokens.iter().zip(roles) {
        let share = shares.push(token.id)?;
        match said.last_mut() {
            Some((last, text)) if *last == role => text.push_str(&share),
            _ => said.push((role, share)),
        }
    }
    assert_eq!(shares.finish(), "");
    assert_eq!(said.iter().map(|(_, text)| text.as_str()).collect::<String>(), prompt.text);
    let ours: Vec<(Role, &str)> =
        said.iter().filter(|(role, _)| *role != Role::Template).map(|(role, text)| (*role, text.trim())).collect();
    let expected = [
        (Role::System, "You are a poet."),
        (Role::User, "user: grüß mich 🙂"),
        (Role::Assistant, "Hallo!"),
        (Role::User, "assistant"),
    ];
    assert_eq!(ours, expected);
    Ok(())
}
