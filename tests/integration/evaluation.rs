//! An examination is a run of the model like any other, only shared and batched.

use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device};
use trimkv_trace::corpus::{Document, Family, Plan};
use trimkv_trace::engine::generation::{Generation, Request, Stop};
use trimkv_trace::engine::sampling::{Sampler, Sampling};
use trimkv_trace::evaluation::{Cell, Exam, Outcome, Protocol};
use trimkv_trace::model::attention::QUERY_BLOCK;
use trimkv_trace::model::load::{Checkpoint, Loaded, Wanted};
use trimkv_trace::policy::PolicyKind;
use trimkv_trace::text::{Message, Speaker, Specials};

use crate::run::Folder;

fn builtin() -> Loaded {
    Checkpoint::open(&Wanted::default()).unwrap().load(DType::F32, &Device::Cpu).unwrap()
}

fn document(seed: u64) -> Document {
    let family = Family::ALL[seed as usize % Family::ALL.len()];
    Document::new(Plan { tokens: 150, turns: 1, fewest_facts: 2, facts: 2, only: Some(family) }, seed)
}

fn cell(kind: PolicyKind, budget: u32) -> Cell {
    Cell { kind, budget: Some(budget), policy: kind.policy(budget, 3, 5).unwrap() }
}

fn take(loaded: &Loaded, protocol: Protocol, cells: &[Cell], document: &Document) -> Vec<Outcome> {
    let (tokenizer, template) = (loaded.tokenizer.as_ref().unwrap(), loaded.template.as_ref().unwrap());
    Exam { model: &loaded.model, tokenizer, template, protocol, cells }.take(document).unwrap().0
}

/// What greedy generation makes of the document, and whether the model ended its answer itself.
fn generate(loaded: &Loaded, cell: &Cell, document: &Document) -> (String, Option<Stop>) {
    let (tokenizer, template) = (loaded.tokenizer.as_ref().unwrap(), loaded.template.as_ref().unwrap());
    let text = template.render(&[Message::new(Speaker::User, document.prompt())], true, None).unwrap();
    let prompt = tokenizer.encode(&text, Specials::AsWritten).unwrap().iter().map(|token| token.id).collect();
    let request = Request {
        prompt,
        prefill_chunk: None,
        max_new_tokens: 80,
        eos: loaded.eos.clone(),
        context: 1024,
        record_attention: false,
        record_logits: false,
        query_block: QUERY_BLOCK,
    };
    let running = AtomicBool::new(false);
    let sampler = Sampler::new(Sampling::Greedy, 0);
    let mut generation = Generation::new(&loaded.model, &cell.policy, request, sampler, &running).unwrap();
    let ids: Vec<u32> = generation.by_ref().filter_map(|step| step.unwrap().drawn).map(|drawn| drawn.id).collect();
    let answer: Vec<u32> = ids.iter().copied().filter(|id| !loaded.eos.contains(id)).collect();
    (tokenizer.decode(&answer).unwrap(), generation.stop())
}

#[test]
fn an_answer_is_right_exactly_when_greedy_generation_writes_it() {
    let loaded = builtin();
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..20 {
        let document = document(seed);
        let cells = [(PolicyKind::Full, 1), (PolicyKind::TrimKv, 24), (PolicyKind::Window, 16)]
            .map(|(kind, budget)| cell(kind, budget));
        for (outcome, cell) in take(&loaded, Protocol::Whole, &cells, &document).iter().zip(&cells) {
            let (text, stop) = generate(&loaded, cell, &document);
            let same = text == document.turns[0].answer && stop == Some(Stop::Eos);
            assert_eq!(outcome.right, same, "{} of seed {seed} wrote {text:?}", cell.kind);
            *(if same { &mut right } else { &mut wrong }) += 1;
        }
    }
    assert!(right > 0 && wrong > 0, "{right} right and {wrong} wrong: the comparison shows nothing");
}

#[test]
fn with_room_for_everything_every_policy_and_protocol_says_what_the_full_cache_says() {
    let loaded = builtin();
    let document = document(3);
    let kinds =
        [PolicyKind::Full, PolicyKind::TrimKv, PolicyKind::Window, PolicyKind::StreamingLlm, PolicyKind::Random];
    let cells = kinds.map(|kind| cell(kind, 400));
    let nll = take(&loaded, Protocol::Whole, &cells, &document)[0].nll;
    for protocol in [Protocol::Whole, Protocol::Unseen, Protocol::Streamed(7)] {
        for (outcome, cell) in take(&loaded, protocol, &cells, &document).iter().zip(&cells) {
            assert!((outcome.nll - nll).abs() < 1e-4, "{} under {protocol}: {} for {nll}", cell.kind, outcome.nll);
        }
    }
}

#[test]
fn a_cell_does_not_depend_on_the_cells_beside_it() {
    let loaded = builtin();
    let document = document(4);
    // Some ask for attention, some for one query, some for eight: each must get its own.
    let kinds = [
        PolicyKind::TrimKv,
        PolicyKind::Random,
        PolicyKind::H2o,
        PolicyKind::Tova,
        PolicyKind::SnapKv,
        PolicyKind::RKv,
    ];
    let all = kinds.map(|kind| cell(kind, 20));
    let together = take(&loaded, Protocol::Streamed(16), &all, &document);
    for (outcome, cell) in together.iter().zip(all) {
        let alone = take(&loaded, Protocol::Streamed(16), &[cell], &document)[0];
        assert!((outcome.nll - alone.nll).abs() < 1e-4, "{outcome:?} and {alone:?}");
    }
}

#[test]
fn the_program_examines_and_prints_the_same_numbers_twice() {
    let folder = Folder::new();
    let arguments = ["evaluate", "--documents", "3", "--tokens", "128", "--facts", "2", "--budgets", "16", "--json"];
    let first = folder.run(&arguments);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let json: serde_json::Value = serde_json::from_str(&first.stdout).unwrap();
    // Four families and all together, under the full cache and four policies.
    assert_eq!(json["cells"].as_array().unwrap().len(), 5 * 5);
    assert_eq!(first.stdout, folder.run(&arguments).stdout);
}

#[test]
fn the_program_writes_documents_that_are_chats() {
    let folder = Folder::new();
    let said = folder.run(&["corpus", "--documents", "3", "--seed", "9", "--tokens", "200"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let lines: Vec<serde_json::Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["messages"][0]["role"], "user");
    let refused = folder.run(&["corpus", "--tokens", "12"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--tokens 64"), "{}", refused.stderr);
}
