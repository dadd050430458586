//! The parser's events as a tree.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

/// Nesting beyond which a file is refused, so that reading it needs a bounded stack.
const MAX_DEPTH: usize = 100;

/// A node and where it starts.
#[derive(Debug)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar {
        /// The explicit tag, in its long form.
        tag: Option<String>,
        value: String,
        /// Neither quoted nor a block.
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
    Alias(Rc<Node>),
}

impl Node {
    pub(super) fn is_alias(&self) -> bool {
        matches!(self.content, Content::Alias(_))
    }

    /// The content, an alias's being its anchor's.
    pub(super) fn target(&self) -> &Content {
        match &self.content {
            Content::Alias(node) => node.target(),
            content => content,
        }
    }

    /// Whether this key is YAML 1.1's merge key.
    pub(super) fn is_merge(&self) -> bool {
        match &self.content {
            Content::Scalar { tag, value, plain } => {
                value == "<<" && (*plain || tag.as_deref() == Some("tag:yaml.org,2002:merge"))
            }
            _ => false,
        }
    }
}

/// The first document of `file`, or `None` if there is none. What follows it is not read.
pub(super) fn parse(file: &[u8]) -> Result<Option<Node>, String> {
    let file = std::str::from_utf8(file).map_err(|_| "invalid UTF-8")?;
    if !file.chars().all(is_allowed) {
        return Err("control characters are not allowed".to_owned());
    }
    if file.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        // Line ends for YAML 1.1 and so for go-yaml, but not for this parser.
        return Err("line ends other than LF and CR are not supported".to_owned());
    }
    let mut builder = Builder { parser: Parser::new_from_str(file), anchors: HashMap::new() };
    loop {
        match builder.next()? {
            (Event::StreamStart, _) => {}
            (Event::DocumentStart(_), _) => {
                let start = builder.next()?;
                return builder.node(start, MAX_DEPTH).map(own).map(Some);
            }
            _ => return Ok(None),
        }
    }
}

/// What go-yaml's reader lets through.
fn is_allowed(character: char) -> bool {
    matches!(
        character,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..
    )
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// By the parser's number; `None` while the anchor's own node is being read.
    anchors: HashMap<usize, Option<Rc<Node>>>,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(describe(&error)),
            None => Err("attempted to go past the end of stream; corrupted value?".to_owned()),
        }
    }

    fn node(&mut self, start: (Event<'a>, Span), depth: usize) -> Result<Rc<Node>, String> {
        let depth = depth.checked_sub(1).ok_or("exceeded max depth of 100")?;
        let (event, span) = start;
        let (anchor, content) = match event {
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(Some(target)) => (0, Content::Alias(Rc::clone(target))),
                _ => return Err("anchor value contains itself".to_owned()),
            },
            Event::Scalar(value, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                (anchor, Content::Scalar { tag, value: value.into_owned(), plain })
            }
            Event::SequenceStart(anchor, _) => {
                self.anchors.insert(anchor, None);
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        start => items.push(own(self.node(start, depth)?)),
                    }
                }
                (anchor, Content::Sequence(items))
            }
            Event::MappingStart(anchor, _) => {
                self.anchors.insert(anchor, None);
                let mut entries = Vec::new();
                loop {
                    let key = match self.next()? {
                        (Event::MappingEnd, _) => break,
                        start => own(self.node(start, depth)?),
                    };
                    let start = self.next()?;
                    entries.push((key, own(self.node(start, depth)?)));
                }
                (anchor, Content::Mapping(entries))
            }
            _ => return Err("unknown problem parsing YAML content".to_owned()),
        };
        let node = Rc::new(Node { line: span.start.line(), content });
        if anchor > 0 {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        Ok(node)
    }
}

/// The node itself, or an alias of it if it has an anchor.
fn own(node: Rc<Node>) -> Node {
    match Rc::try_unwrap(node) {
        Ok(node) => node,
        Err(node) => Node { line: node.line, content: Content::Alias(node) },
    }
}

/// The error as go-yaml would put it: the line, and the problem without what was being parsed.
fn describe(error: &ScanError) -> String {
    let problem = match error.info().split_once(", ") {
        Some((context, problem)) if context.starts_with("while ") => problem,
        _ => error.info(),
    };
    format!("line {}: {problem}", error.marker().line())
}
