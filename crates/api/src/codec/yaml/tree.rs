//! YAML text to a tree of nodes, aliases not yet expanded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::read::YamlError;
use crate::codec::MAX_DEPTH;

/// Index into [`Tree::nodes`].
pub type NodeId = usize;

pub enum Node<'a> {
    Scalar { text: Cow<'a, str>, plain: bool, tag: Option<String> },
    Sequence(Vec<NodeId>),
    Mapping(Vec<NodeId>),
    Alias(NodeId),
}

/// One document, aliases not yet expanded.
pub struct Tree<'a> {
    /// Each with its line.
    pub nodes: Vec<(Node<'a>, usize)>,
    pub root: NodeId,
}

pub struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

/// go-yaml does not say what it was about when it met what it cannot read, and there counts lines from nought.
fn syntax(info: &str, line: usize) -> YamlError {
    match info.strip_prefix("while parsing ").and_then(|rest| rest.split_once(", ")) {
        Some((_, problem)) => YamlError::Syntax { line: line.saturating_sub(1), problem: problem.to_owned() },
        None => YamlError::Syntax { line, problem: info.to_owned() },
    }
}

impl<'a> Loader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { parser: Parser::new_from_str(text) }
    }

    fn next_event(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(e)) if e.info().starts_with("':' must be followed by a valid YAML whitespace") => {
                Err(YamlError::TabAfterColon { at: e.marker().index() })
            }
            Some(Err(e)) => Err(syntax(e.info(), e.marker().line())),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Builds the tree bottom-up with an explicit stack: input decides the depth, so no recursion.
    pub fn next_document(&mut self) -> Result<Option<Tree<'a>>, YamlError> {
        let mut nodes: Vec<(Node<'a>, usize)> = Vec::new();
        let mut anchors: BTreeMap<usize, NodeId> = BTreeMap::new();
        let mut open: Vec<NodeId> = Vec::new();
        let mut root = None;
        loop {
            let (event, span) = self.next_event()?;
            let line = span.start.line();
            let (node, anchor, opens) = match event {
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => continue,
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop();
                    continue;
                }
                Event::Alias(anchor) => {
                    let target = anchors.get(&anchor).copied();
                    let target = target
                        .ok_or_else(|| YamlError::Syntax { line, problem: "unknown anchor referenced".to_owned() })?;
                    (Node::Alias(target), 0, false)
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let tag = tag.map(|t| if t.is_yaml_core_schema() { t.suffix.clone() } else { t.to_string() });
                    (Node::Scalar { text, plain: style == ScalarStyle::Plain, tag }, anchor, false)
                }
                Event::SequenceStart(anchor, _) => (Node::Sequence(Vec::new()), anchor, true),
                Event::MappingStart(anchor, _) => (Node::Mapping(Vec::new()), anchor, true),
            };
            let id = nodes.len();
            nodes.push((node, line));
            if anchor != 0 {
                anchors.insert(anchor, id);
            }
            match open.last() {
                None => root = Some(id),
                Some(&parent) => match &mut nodes[parent].0 {
                    Node::Sequence(children) | Node::Mapping(children) => children.push(id),
                    Node::Scalar { .. } | Node::Alias(_) => {}
                },
            }
            if opens {
                open.push(id);
                if open.len() > MAX_DEPTH {
                    return Err(YamlError::TooDeep);
                }
            }
        }
        Ok(root.map(|root| Tree { nodes, root }))
    }
}
