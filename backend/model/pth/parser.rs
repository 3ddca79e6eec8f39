//! Reads the pickle instructions that describe a dictionary of tensors, and carries none of them out.
//!
//! candle has such a reader, which is meant for files that one trusts: it copies a value whenever it is mentioned again,
//! so 30 nested pairs become 2^30 values; it believes any length before it allocates; it overflows on wide integers. Here
//! every value is made once and named by its place in a list, each instruction makes at most one, and a length is checked
//! against what is left to read: memory grows with the file and with nothing else. Protocols 2 to 5 are read.

use std::collections::HashMap;

use super::fault::Fault;
use super::global::Global;
use super::pickle::{Node, Pickle, Value};

/// Walks through a pickle's instructions.
pub(super) struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Node>,
    /// Heights of the stack at which a mark was set.
    marks: Vec<usize>,
    memo: HashMap<u32, Node>,
}

/// What is wrong with one instruction.
enum Trouble {
    Broken(&'static str),
    Refused(Fault),
}

impl From<&'static str> for Trouble {
    fn from(problem: &'static str) -> Self {
        Self::Broken(problem)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

const ENDS: &str = "it ends in the middle of an instruction";
const EMPTY: &str = "an instruction takes more values than there are";
const LONG: &str = "a text is longer than the file";
const NOT_UTF8: &str = "a text is not UTF-8";

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// Reads up to the instruction that ends the pickle.
    pub(super) fn run(mut self) -> Result<Pickle, Fault> {
        loop {
            let at = self.at;
            match self.step() {
                Ok(None) => {}
                Ok(Some(root)) => return Ok(Pickle { values: self.values, root }),
                Err(Trouble::Refused(fault)) => return Err(fault),
                Err(Trouble::Broken(problem)) => return Err(Fault::Pickle { problem: problem.to_owned(), at }),
            }
        }
    }

    /// Reads one instruction; the last one returns the result.
    fn step(&mut self) -> Result<Option<Node>, Trouble> {
        match self.byte()? {
            // PROTO and FRAME say nothing about the values.
            0x80 => {
                self.byte()?;
            }
            0x95 => {
                self.take(8)?;
            }
            b'.' => return Ok(Some(self.pop()?)),

            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'G' => {
                self.take(8)?;
                self.push(Value::Other);
            }
            b'K' => self.push_integer(1, Sign::None)?,
            b'M' => self.push_integer(2, Sign::None)?,
            b'J' => self.push_integer(4, Sign::Highest)?,
            0x8a => {
                let width = self.length(1)?;
                self.push_integer(width, Sign::Highest)?;
            }
            0x8b => {
                let width = self.length(4)?;
                self.push_integer(width, Sign::Highest)?;
            }

            0x8c | b'U' => self.push_text(1)?,
            b'X' | b'T' => self.push_text(4)?,
            0x8d => self.push_text(8)?,
            b'C' => self.push_bytes(1)?,
            b'B' => self.push_bytes(4)?,
            0x8e | 0x96 => self.push_bytes(8)?,

            b')' => self.push(Value::Tuple(Vec::new())),
            0x85 => self.push_tuple(1)?,
            0x86 => self.push_tuple(2)?,
            0x87 => self.push_tuple(3)?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend_list(items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()));
                self.extend_dict(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }

            b'c' => {
                let [module, name] = [self.line()?, self.line()?];
                self.push(Value::Global(Global::named(module, name)?));
            }
            0x93 => {
                let [name, module] = [self.pop()?, self.pop()?];
                let (Value::Text(module), Value::Text(name)) = (&self.values[module.0], &self.values[name.0]) else {
                    return Err("a name is not a text".into());
                };
                let global = Global::named(module, name)?;
                self.push(Value::Global(global));
            }
            // INST calls what it names at once; nothing in a checkpoint needs it, so the name is only good for a message.
            b'i' => {
                let [module, name] = [self.line()?, self.line()?];
                Global::named(module, name)?;
                return Err("a class is instantiated".into());
            }
            b'R' | 0x81 => self.call()?,
            b'b' => self.set_state()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Storage(id));
            }

            b'q' => {
                let key = self.unsigned(1)?;
                self.remember(key)?;
            }
            b'r' => {
                let key = self.unsigned(4)?;
                self.remember(key)?;
            }
            0x94 => {
                let key = self.memo.len() as u64;
                self.remember(key)?;
            }
            b'h' => {
                let key = self.unsigned(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.unsigned(4)?;
                self.recall(key)?;
            }
            _ => return Err("there is an instruction that no checkpoint needs".into()),
        }
        Ok(None)
    }

    fn call(&mut self) -> Result<(), Trouble> {
        let [args, function] = [self.pop()?, self.pop()?];
        let Value::Global(function) = self.values[function.0] else {
            return Err("what is called is no function".into());
        };
        let Value::Tuple(items) = &self.values[args.0] else {
            return Err("a function's arguments are no tuple".into());
        };
        match (function, items.as_slice()) {
            (Global::Dict, []) => self.push(Value::Dict(Vec::new())),
            // A size is a tuple with another name.
            (Global::Size, &[size]) => self.stack.push(size),
            (
                Global::RebuildTensorV2 | Global::RebuildTensorV3 | Global::RebuildParameter | Global::RebuildFromType,
                _,
            ) => self.push(Value::Call(function, args)),
            _ => return Err("something is called that is no function of a checkpoint".into()),
        }
        Ok(())
    }

    /// BUILD sets attributes. torch gives its dictionaries a `_metadata`, which is no entry and not needed.
    fn set_state(&mut self) -> Result<(), Trouble> {
        self.pop()?;
        let target = self.top()?;
        match self.values[target.0] {
            Value::Dict(_) => Ok(()),
            _ => Err("attributes are set on something else than a dictionary".into()),
        }
    }

    fn extend_list(&mut self, items: Vec<Node>) -> Result<(), Trouble> {
        let target = self.top()?;
        match &mut self.values[target.0] {
            Value::List(list) => list.extend(items),
            _ => return Err("something is appended to what is no list".into()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Node]) -> Result<(), Trouble> {
        let target = self.top()?;
        let Value::Dict(entries) = &mut self.values[target.0] else {
            return Err("an entry is set in what is no dictionary".into());
        };
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("a key has no value".into());
        }
        entries.extend(pairs.map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Result<(), Trouble> {
        let top = self.top()?;
        let key = u32::try_from(key).map_err(|_| "too much is remembered")?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), Trouble> {
        let known = u32::try_from(key).ok().and_then(|key| self.memo.get(&key));
        self.stack.push(*known.ok_or("something is recalled that was not remembered")?);
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(Node(self.values.len()));
        self.values.push(value);
    }

    fn push_tuple(&mut self, count: usize) -> Result<(), Trouble> {
        let floor = self.floor();
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= floor).ok_or(EMPTY)?;
        let items = self.stack.split_off(start);
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn push_integer(&mut self, width: usize, sign: Sign) -> Result<(), Trouble> {
        let bytes = self.take(width)?;
        if bytes.len() > 8 {
            return Err("an integer has more than 64 bits".into());
        }
        let negative = sign == Sign::Highest && bytes.last().is_some_and(|&highest| highest >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn push_text(&mut self, width: usize) -> Result<(), Trouble> {
        let length = self.length(width)?;
        let text = std::str::from_utf8(self.take(length).map_err(|_| LONG)?).map_err(|_| NOT_UTF8)?;
        self.push(Value::Text(text.to_owned()));
        Ok(())
    }

    fn push_bytes(&mut self, width: usize) -> Result<(), Trouble> {
        let length = self.length(width)?;
        self.take(length).map_err(|_| LONG)?;
        self.push(Value::Other);
        Ok(())
    }

    fn top(&self) -> Result<Node, Trouble> {
        let top = self.stack.last().filter(|_| self.stack.len() > self.floor());
        Ok(*top.ok_or(EMPTY)?)
    }

    fn pop(&mut self) -> Result<Node, Trouble> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Node>, Trouble> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    /// Values below the last mark are not to be taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn byte(&mut self) -> Result<u8, Trouble> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Trouble> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).ok_or(ENDS)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn unsigned(&mut self, width: usize) -> Result<u64, Trouble> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(wide))
    }

    fn length(&mut self, width: usize) -> Result<usize, Trouble> {
        Ok(usize::try_from(self.unsigned(width)?).map_err(|_| LONG)?)
    }

    /// Text up to a line break, which is left out.
    fn line(&mut self) -> Result<&'a str, Trouble> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n').ok_or(ENDS)?;
        let line = self.take(length)?;
        self.byte()?;
        Ok(std::str::from_utf8(line).map_err(|_| NOT_UTF8)?)
    }
}

/// Whether an integer's highest bit is its sign.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    None,
    Highest,
}
