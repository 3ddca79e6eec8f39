//! The program against a hub on this machine: names instead of folders.

use std::path::PathBuf;

use trimkv_trace::trace::read::Trace;

use crate::golden::{self, Case};
use crate::hub_server::HubServer;
use crate::run::{Folder, Said, edit_json};

const BASES: [(&str, &str); 2] = [("Qwen/Tiny", "qwen3-tiny"), ("microsoft/Phi-Tiny", "phi3-tiny")];
const GATES: [(&str, &str, &str); 2] =
    [("ngocbh/TrimKV-Tiny", "qwen3-rg", "Qwen/Tiny"), ("ngocbh/TrimKV-Phi-Tiny", "phi3-rg", "microsoft/Phi-Tiny")];

/// Golden models and checkpoints as repositories; the checkpoints name their base by its repository, as released ones do.
fn serve(folder: &Folder) -> HubServer {
    let mut repos: Vec<(&str, PathBuf)> = Vec::new();
    repos.extend(BASES.map(|(repo, name)| (repo, golden::root().join("models").join(name))));
    repos.extend(GATES.map(|(repo, name, base)| {
        let copy = folder.copy_golden(&format!("checkpoints/{name}"));
        edit_json(&copy.join("config.json"), |json| drop(json.insert("base_model".into(), base.into())));
        (repo, copy)
    }));
    HubServer::serve(repos).unwrap()
}

fn run(folder: &Folder, case: &Case, hub: &HubServer, args: &[&str], variables: &[(&str, &str)]) -> Said {
    folder.write_ids("ids.json", &case.prompt);
    let given = ["--prompt-ids", "ids.json", "--raw", "--ignore-eos", "--budget", "16", "--buffer", "8"];
    let mut command = folder.command(&[&given[..], args].concat());
    command.env("HF_ENDPOINT", hub.endpoint()).envs(variables.iter().copied());
    command.output().unwrap().into()
}

fn generated(trace: &Trace) -> Vec<u32> {
    let ids = trace.recording.tokens.iter().map(|token| token.id);
    ids.skip(trace.manifest.prompt.tokens as usize).collect()
}

#[test]
fn gates_on_the_hub_bring_their_base_and_stay_in_the_cache() {
    for ((gates, checkpoint, base), length) in GATES.into_iter().zip([9, 7]) {
        let folder = Folder::new();
        let hub = serve(&folder);
        let case: Case = golden::json(&format!("cases/{checkpoint}/alpha.json"));
        let count = length.to_string();
        let args = ["--gates", gates, "--max-new-tokens", &count, "--out"];
        run(&folder, &case, &hub, &[&args[..], &["online"]].concat(), &[]).done();
        let online = folder.trace("online");
        assert_eq!(generated(&online), case.tokens[..length]);
        assert_eq!(online.manifest.model.source, base);
        assert_eq!(online.manifest.model.revision, Some(hub.commit(base)));
        assert_eq!(online.manifest.gates.as_ref().unwrap().source, gates);

        let asked = hub.requests().len();
        let offline = [("HF_HUB_OFFLINE", "1")];
        run(&folder, &case, &hub, &[&args[..], &["offline"]].concat(), &offline).done();
        assert_eq!(generated(&folder.trace("offline")), case.tokens[..length]);
        assert_eq!(hub.requests().len(), asked, "nothing is asked for offline");
    }
}

#[test]
fn a_checkpoint_on_the_hub_may_be_named_as_the_model() {
    let folder = Folder::new();
    let hub = serve(&folder);
    let case: Case = golden::json("cases/qwen3-rg/alpha.json");
    let args = ["--model", "ngocbh/TrimKV-Tiny", "--max-new-tokens", "3", "--out", "trace"];
    run(&folder, &case, &hub, &args, &[]).done();
    assert_eq!(generated(&folder.trace("trace")), case.tokens[..3]);
}

#[test]
fn a_hub_that_refuses_is_told_in_one_sentence() {
    let folder = Folder::new();
    let hub = serve(&folder);
    hub.require_token("ngocbh/TrimKV-Tiny", "hf_right");
    let case: Case = golden::json("cases/qwen3-rg/alpha.json");
    let refused = |args: &[&str], variables: &[(&str, &str)], words: &[&str]| {
        let before = folder.traces();
        let said = run(&folder, &case, &hub, args, variables);
        folder.check_refusal(&said, words);
        assert_eq!(folder.traces(), before);
    };
    let gates = ["--gates", "ngocbh/TrimKV-Tiny"];
    refused(&gates, &[], &["ngocbh/TrimKV-Tiny is private, gated or does not exist", "set HF_TOKEN"]);
    refused(&gates, &[("HF_TOKEN", "hf_wrong")], &["the access token does not open", "renew HF_TOKEN"]);
    let unknown = ["--model", "ngocbh/Nothing"];
    refused(&unknown, &[("HF_TOKEN", "hf_right")], &["there is no model ngocbh/Nothing", "check its name"]);
    refused(&["--model", "Qwen/Tiny", "--revision", "v9"], &[], &["Qwen/Tiny has no revision v9", "check the branch"]);
    refused(&unknown, &[("HF_HUB_OFFLINE", "1")], &["HF_HUB_OFFLINE is set", "unset it"]);
    let nowhere = [("HF_ENDPOINT", crate::run::NOWHERE)];
    refused(&unknown, &nowhere, &["cannot reach http://127.0.0.1:9", "check the network", "--model DIR"]);
    refused(&unknown, &[("HF_ENDPOINT", "ftp://x")], &["HF_ENDPOINT is \"ftp://x\"", "https://"]);
}
