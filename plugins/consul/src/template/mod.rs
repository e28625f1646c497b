//! Default rules as people have them from Traefik: ``Host(`{{ normalize .Name }}.example.com`)``.
//!
//! This is the part of Go's `text/template` that rules need: text, `{{ … }}` with pipelines and
//! parentheses, variables, `if`, `else`, `with`, comments, and `{{-` and `-}}`. The data are `.Name`,
//! the service as Consul spells it, and `.Labels`, its tags by their key with the prefix written as
//! `traefik`. What else Go has is refused with its place, as is a function that is not in
//! [`functions`].
//!
//! Reading order: the syntax here and in [`parse`], [`value`], [`functions`].

mod functions;
mod parse;
mod value;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::fault::Fault;
use functions::Function;
use value::Value;

/// A template that was read.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    text: String,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Output(Expression),
    Set {
        name: String,
        /// `$x := …`, which is known up to the end of its block; else `$x = …`.
        declares: bool,
        value: Expression,
    },
    /// `if` and `with`; what follows an `else if` is one more of these under `otherwise`.
    Choice {
        condition: Expression,
        /// Whether the condition becomes the dot: `with`.
        is_with: bool,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
}

/// A value to be worked out, and where it stands in bytes.
#[derive(Clone, Debug)]
struct Expression {
    at: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Literal(Value),
    /// `.`
    Dot,
    /// `$x`; `$` alone has the empty name.
    Variable(String),
    /// `.Labels`, after whatever it is a field of.
    Field(Box<Expression>, String),
    Call(&'static Function, Vec<Expression>),
}

/// The longest text that a template makes, in bytes: no rule is longer.
const MOST_OUTPUT: usize = 64 << 10;

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let nodes = parse::nodes(text)?;
        Ok(Self { text: text.to_owned(), nodes })
    }

    /// The text for a service; or why there is none, with the place in the template.
    pub(crate) fn render(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let labels = labels.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone())));
        let root = Value::Map(BTreeMap::from([
            ("Name".to_owned(), Value::Text(name.to_owned())),
            ("Labels".to_owned(), Value::Map(labels.collect())),
        ]));
        let mut scope =
            Scope { variables: vec![(String::new(), root.clone())], text: String::new() };
        let rendered = scope.nodes(&self.nodes, &root);
        rendered.map_err(|fault| fault.told(&self.text))?;
        Ok(scope.text)
    }

    /// Whether it looks at a label, as far as can be seen without running it.
    pub(crate) fn names(&self, label: &str) -> bool {
        self.text.contains(label)
    }
}

/// What is known while a template runs.
struct Scope {
    variables: Vec<(String, Value)>,
    text: String,
}

impl Scope {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Fault> {
        let known = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => self.text.push_str(text),
                Node::Output(expression) => {
                    let value = self.value(expression, dot)?;
                    let text = value.to_text().map_err(|told| Fault::new(expression.at, told))?;
                    self.text.push_str(&text);
                    if self.text.len() > MOST_OUTPUT {
                        let message = format!("it makes more than {MOST_OUTPUT} bytes");
                        return Err(Fault::new(expression.at, message));
                    }
                }
                Node::Set { name, declares, value } => {
                    let value = self.value(value, dot)?;
                    match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                        Some((_, known)) if !declares => *known = value,
                        _ => self.variables.push((name.clone(), value)),
                    }
                }
                Node::Choice { condition, is_with, then, otherwise } => {
                    let value = self.value(condition, dot)?;
                    match (value.is_true(), is_with) {
                        (true, true) => self.nodes(then, &value)?,
                        (true, false) => self.nodes(then, dot)?,
                        (false, _) => self.nodes(otherwise, dot)?,
                    }
                }
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn value(&self, expression: &Expression, dot: &Value) -> Result<Value, Fault> {
        match &expression.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Dot => Ok(dot.clone()),
            Kind::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).ok_or_else(|| {
                    Fault::new(expression.at, format!("there is no variable `${name}` here"))
                })
            }
            Kind::Field(of, name) => {
                let of = self.value(of, dot)?;
                of.field(name).map_err(|told| Fault::new(expression.at, told))
            }
            Kind::Call(function, arguments) => {
                let values = arguments.iter().map(|argument| self.value(argument, dot));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                (function.run)(&values).map_err(|told| {
                    Fault::new(expression.at, format!("`{}`: {told}", function.name))
                })
            }
        }
    }
}
