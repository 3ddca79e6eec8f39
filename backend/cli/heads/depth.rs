//! Roles by depth: a row per layer, a column per role that some head has.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::args::HeadsArgs;
use super::table::role as short;
use crate::analysis::depth::{LayerRoles, roles_by_layer};
use crate::analysis::reading::HeadReading;
use crate::analysis::roles::Role;
use crate::cli::printer::Printer;

/// A layer; every role is there, so that programs need not ask.
#[derive(Serialize)]
struct Row {
    layer: u16,
    heads: usize,
    roles: BTreeMap<&'static str, usize>,
}

/// Prints how many heads of every layer have each role.
///
/// # Errors
/// When JSON cannot be made of it.
pub fn print(args: &HeadsArgs, heads: &[HeadReading], printer: &Printer) -> Result<()> {
    let layers = roles_by_layer(heads);
    if args.json {
        printer.line(&serde_json::to_string_pretty(&layers.iter().map(row).collect::<Vec<_>>())?);
    } else if args.csv {
        printer.result(&csv(&layers));
    } else {
        printer.result(&table(&layers));
    }
    Ok(())
}

fn row(layer: &LayerRoles) -> Row {
    let roles = Role::ALL.iter().map(|role| (role.as_str(), layer.of(*role))).collect();
    Row { layer: layer.layer, heads: layer.heads, roles }
}

fn csv(layers: &[LayerRoles]) -> String {
    let names = Role::ALL.map(|role| role.as_str().replace([' ', '-'], "_")).join(",");
    let line = |layer: &LayerRoles| {
        let counts = layer.counts.map(|count| count.to_string()).join(",");
        format!("{},{},{counts}\n", layer.layer, layer.heads)
    };
    format!("layer,heads,{names}\n{}", layers.iter().map(line).collect::<String>())
}

fn table(layers: &[LayerRoles]) -> String {
    let present: Vec<Role> =
        Role::ALL.into_iter().filter(|role| layers.iter().any(|layer| layer.of(*role) > 0)).collect();
    let width = |role: &Role| short(*role).len() + 2;
    let line = |name: &str, cells: Vec<String>| {
        let cells = cells.iter().zip(&present).map(|(cell, role)| format!("{cell:>width$}", width = width(role)));
        format!("{name:<6}{}\n", cells.collect::<String>())
    };
    let mut text = line("layer", present.iter().map(|role| short(*role).to_owned()).collect());
    for layer in layers {
        // A nought would hide where the roles are.
        let count = |role: &Role| match layer.of(*role) {
            0 => "·".to_owned(),
            count => count.to_string(),
        };
        text.push_str(&line(&layer.layer.to_string(), present.iter().map(count).collect()));
    }
    let total = |role: &Role| layers.iter().map(|layer| layer.of(*role)).sum::<usize>().to_string();
    text.push_str(&line("all", present.iter().map(total).collect()));
    text
}
