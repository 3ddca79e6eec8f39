//! What a pickle describes, as values that name one another by their place in a list.

use super::fault::Fault;
use super::global::Global;
use super::parser::Parser;

/// A value's place in [`Pickle::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Node(pub(super) usize);

/// What a pickle describes.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// `None`, a truth value, a float or bytes: allowed beside the tensors, of no use to us.
    Other,
    Int(i64),
    Text(String),
    Tuple(Vec<Node>),
    List(Vec<Node>),
    Dict(Vec<(Node, Node)>),
    Global(Global),
    /// The persistent id of a storage, a tuple.
    Storage(Node),
    /// A function and the tuple of its arguments.
    Call(Global, Node),
}

/// A pickle's values and which of them is the result.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) root: Node,
}

impl Pickle {
    /// Reads a whole pickle.
    ///
    /// # Errors
    /// [`Fault::Code`] when it names anything but torch's tensors, [`Fault::Pickle`] when it is broken.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        Parser::new(bytes).run()
    }

    pub(super) fn value(&self, node: Node) -> &Value {
        &self.values[node.0]
    }

    pub(super) fn tuple(&self, node: Node) -> Option<&[Node]> {
        match self.value(node) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn text(&self, node: Node) -> Option<&str> {
        match self.value(node) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A count: torch writes none below zero.
    pub(super) fn count(&self, node: Node) -> Option<usize> {
        match self.value(node) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A tuple of counts.
    pub(super) fn counts(&self, node: Node) -> Option<Vec<usize>> {
        self.tuple(node)?.iter().map(|&item| self.count(item)).collect()
    }
}
