//! Text → nodes.

use super::{Expression, Kind, Node, functions, value::Value};
use crate::{
    fault::{Fault, proposal},
    literal,
};

/// Reads a template.
pub(super) fn nodes(text: &str) -> Result<Vec<Node>, Fault> {
    let mut reader = Reader { text, at: 0, depth: 0, variables: Vec::new() };
    let (nodes, ending) = reader.block()?;
    match ending {
        Ending::Text => Ok(nodes),
        Ending::End(at) => Err(Fault::new(at, "`end` without an `if` or `with` before it")),
        Ending::Else(at) => Err(Fault::new(at, "`else` without an `if` before it")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Those that are known here.
    variables: Vec<String>,
}

/// What a block ends with, and where.
enum Ending {
    Text,
    End(usize),
    /// The reader stands behind the word.
    Else(usize),
}

/// Deeper than anybody writes, and far from the end of the stack.
const MOST_DEPTH: usize = 32;

/// What Go has and a rule does not need.
const NOT_SUPPORTED: [&str; 6] = ["range", "define", "template", "block", "break", "continue"];

impl<'a> Reader<'a> {
    /// Nodes up to the end of the text, an `end` or an `else`.
    fn block(&mut self) -> Result<(Vec<Node>, Ending), Fault> {
        let mut nodes = Vec::new();
        loop {
            let Some(open) = self.rest().find("{{") else {
                nodes.push(Node::Text(self.rest().to_owned()));
                self.at = self.text.len();
                return Ok((nodes, Ending::Text));
            };
            let before = self.rest().get(..open).unwrap_or_default();
            self.at += open + 2;
            let trims = self.rest().starts_with('-')
                && self.rest().get(1..).is_some_and(|rest| rest.starts_with(char::is_whitespace));
            self.at += usize::from(trims);
            nodes.push(Node::Text(if trims { before.trim_end() } else { before }.to_owned()));
            self.skip_blanks();
            if self.rest().starts_with("/*") {
                self.comment()?;
                continue;
            }
            let start = self.at;
            match self.word() {
                "end" => {
                    self.advance("end");
                    self.close()?;
                    return Ok((nodes, Ending::End(start)));
                }
                "else" => {
                    self.advance("else");
                    return Ok((nodes, Ending::Else(start)));
                }
                word @ ("if" | "with") => {
                    self.advance(word);
                    nodes.push(self.choice(word == "with", start)?);
                }
                word if NOT_SUPPORTED.contains(&word) => {
                    let message = format!("`{word}` is not supported in a default rule");
                    return Err(Fault::new(start, message));
                }
                _ => {
                    nodes.push(self.statement()?);
                    self.close()?;
                }
            }
        }
    }

    /// What follows `if` or `with`, up to its `end`.
    fn choice(&mut self, is_with: bool, start: usize) -> Result<Node, Fault> {
        self.deeper()?;
        let condition = self.pipeline()?;
        self.close()?;
        let known = self.variables.len();
        let (then, ending) = self.block()?;
        self.variables.truncate(known);
        let otherwise = match ending {
            Ending::End(_) => Vec::new(),
            Ending::Text => return Err(Fault::new(start, "there is no `end` to this")),
            Ending::Else(_) => self.otherwise(start)?,
        };
        self.variables.truncate(known);
        self.depth -= 1;
        Ok(Node::Choice { condition, is_with, then, otherwise })
    }

    /// What follows `else`, up to the `end` of the whole.
    fn otherwise(&mut self, start: usize) -> Result<Vec<Node>, Fault> {
        if let word @ ("if" | "with") = self.word() {
            self.advance(word);
            return Ok(vec![self.choice(word == "with", start)?]);
        }
        self.close()?;
        match self.block()? {
            (nodes, Ending::End(_)) => Ok(nodes),
            (_, Ending::Else(at)) => Err(Fault::new(at, "a second `else`")),
            (_, Ending::Text) => Err(Fault::new(start, "there is no `end` to this")),
        }
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let Some(end) = self.rest().find("*/") else {
            return Err(Fault::new(self.at, "there is no `*/` to this"));
        };
        self.at += end + 2;
        self.skip_blanks();
        self.close()
    }

    /// `$x := …`, `$x = …`, or something to be written.
    fn statement(&mut self) -> Result<Node, Fault> {
        let start = self.at;
        if let Some(rest) = self.rest().strip_prefix('$') {
            let end = literal::name_end(rest, 0);
            let name = rest.get(..end).unwrap_or_default();
            let behind = rest.get(end..).unwrap_or_default().trim_start();
            let declares = behind.starts_with(":=");
            if !name.is_empty() && (declares || behind.starts_with('=')) {
                if !declares && !self.variables.iter().any(|known| known == name) {
                    return Err(Fault::new(start, format!("there is no variable `${name}` here")));
                }
                self.at = self.text.len() - behind.len() + if declares { 2 } else { 1 };
                self.skip_blanks();
                let value = self.pipeline()?;
                self.variables.push(name.to_owned());
                return Ok(Node::Set { name: name.to_owned(), declares, value });
            }
        }
        self.pipeline().map(Node::Output)
    }

    /// `a | b x | c`: what stands before a bar is the last argument of what follows it.
    fn pipeline(&mut self) -> Result<Expression, Fault> {
        self.deeper()?;
        let mut value = self.command(None)?;
        while self.rest().starts_with('|') {
            self.advance("|");
            value = self.command(Some(value))?;
        }
        self.depth -= 1;
        Ok(value)
    }

    /// A function with its arguments, or one operand.
    fn command(&mut self, piped: Option<Expression>) -> Result<Expression, Fault> {
        let at = self.at;
        let is_function = self.text.get(at..).is_some_and(|rest| {
            rest.starts_with(char::is_alphabetic)
                && !matches!(self.word(), "true" | "false" | "nil")
        });
        if !is_function {
            return match piped {
                None => self.operand(),
                Some(_) => Err(Fault::new(at, "expected a function after `|`")),
            };
        }
        let name = self.word();
        let Some(function) = functions::find(name) else {
            let meant = proposal(name, functions::names());
            return Err(Fault::new(at, format!("unknown function `{name}`{meant}")));
        };
        self.advance(name);
        let mut arguments = Vec::new();
        while !self.is_at_end_of_command() {
            arguments.push(self.operand()?);
        }
        arguments.extend(piped);
        function.check(arguments.len()).map_err(|told| Fault::new(at, told))?;
        Ok(Expression { at, kind: Kind::Call(function, arguments) })
    }

    fn is_at_end_of_command(&self) -> bool {
        let rest = self.rest();
        rest.is_empty() || rest.starts_with(['|', ')']) || self.closing().is_some()
    }

    fn operand(&mut self) -> Result<Expression, Fault> {
        let at = self.at;
        let rest = self.rest();
        let kind = if let Some((text, end)) = literal::string(self.text, at)? {
            self.at = end;
            Kind::Literal(Value::Text(text))
        } else if rest.starts_with('(') {
            self.advance("(");
            let inner = self.pipeline()?;
            if !self.rest().starts_with(')') {
                return Err(Fault::new(self.at, "expected `)`"));
            }
            self.at += 1;
            inner.kind
        } else if rest.starts_with('$') {
            self.at = literal::name_end(self.text, at + 1);
            let name = self.text.get(at + 1..self.at).unwrap_or_default();
            if !name.is_empty() && !self.variables.iter().any(|known| known == name) {
                return Err(Fault::new(at, format!("there is no variable `${name}` here")));
            }
            Kind::Variable(name.to_owned())
        } else if rest.starts_with('.') {
            // The dot of the first field, if there is one, is read below.
            self.at += usize::from(literal::name_end(self.text, at + 1) == at + 1);
            Kind::Dot
        } else if rest.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            self.number()?
        } else {
            let word = self.word();
            self.at += word.len();
            match word {
                "true" | "false" => Kind::Literal(Value::Bool(word == "true")),
                "" => return Err(Fault::new(at, "expected a value or a function")),
                _ if functions::find(word).is_some() => {
                    let message = format!("the function `{word}` as an argument takes parentheses");
                    return Err(Fault::new(at, message));
                }
                _ => return Err(Fault::new(at, format!("`{word}` is no value"))),
            }
        };
        let operand = self.fields(Expression { at, kind });
        self.skip_blanks();
        Ok(operand)
    }

    /// `.a.b` behind an operand.
    fn fields(&mut self, mut operand: Expression) -> Expression {
        while self.rest().starts_with('.') {
            let (at, end) = (self.at, literal::name_end(self.text, self.at + 1));
            let name = self.text.get(at + 1..end).unwrap_or_default();
            if name.is_empty() {
                break;
            }
            self.at = end;
            let kind = Kind::Field(Box::new(operand), name.to_owned());
            operand = Expression { at, kind };
        }
        operand
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let at = self.at;
        let end = self.rest().find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        let digits =
            self.rest().get(..end.unwrap_or_else(|| self.rest().len())).unwrap_or_default();
        self.at += digits.len();
        let number = digits.parse().map(|number| Kind::Literal(Value::Int(number)));
        number.map_err(|error| Fault::new(at, format!("`{digits}` is no whole number: {error}")))
    }

    /// What ends an action here, `}}` or ` -}}`, in bytes; none if nothing does.
    fn closing(&self) -> Option<usize> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some(2);
        }
        rest.starts_with("-}}").then_some(3)
    }

    fn close(&mut self) -> Result<(), Fault> {
        match self.closing() {
            Some(length) => {
                self.at += length;
                if length == 3 {
                    self.skip_blanks();
                }
                Ok(())
            }
            None => Err(Fault::new(self.at, "expected `}}`")),
        }
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        match self.depth > MOST_DEPTH {
            true => Err(Fault::new(self.at, format!("more than {MOST_DEPTH} levels deep"))),
            false => Ok(()),
        }
    }

    /// The name that stands here; empty if there is none.
    fn word(&self) -> &'a str {
        self.text.get(self.at..literal::name_end(self.text, self.at)).unwrap_or_default()
    }

    fn advance(&mut self, over: &str) {
        self.at += over.len();
        self.skip_blanks();
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }
}
