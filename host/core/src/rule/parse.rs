//! Text to expression: the grammar of Traefik 3's rules.
//!
//! ```text
//! any     = all { "||" all }
//! all     = unary { "&&" unary }
//! unary   = { "!" } ( "(" any ")" | call )
//! call    = name "(" [ string { "," string } ] ")"
//! string  = "`" raw "`" | "\"" escaped "\""
//! ```
//!
//! **Invariant:** parsing is total: it ends for every text, with a rule or an error, and needs
//! little stack however the text is nested.

use super::{
    error::{RuleError, RuleFault, Span},
    expression::{Argument, Call, Expression, Rule},
    lex::{Lexer, Word},
    template::of_traefik_1,
};

/// Levels of parentheses.
const MAX_DEPTH: usize = 64;

/// Bytes of text.
const MAX_LENGTH: usize = 64 * 1024;

impl Rule {
    /// Reads a rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > MAX_LENGTH {
            let fault = RuleFault::TooLong { limit: MAX_LENGTH };
            return Err(RuleError::new(0..1, fault));
        }
        let mut parser = Parser::new(text)?;
        let expression = parser.any(0).map_err(|error| match of_traefik_1(text) {
            Some(rule) => error.hint(format!("write {rule}")),
            None => error,
        })?;
        match parser.word {
            Word::End => Ok(Self { text: text.into(), expression }),
            Word::Name(ref name) if matches!(&*name.to_ascii_lowercase(), "and" | "or") => {
                let sign = if name.eq_ignore_ascii_case("and") { "&&" } else { "||" };
                Err(parser.unexpected("`&&`, `||` or the end").hint(format!("write `{sign}`")))
            }
            _ => Err(parser.unexpected("`&&`, `||` or the end")),
        }
    }
}

/// Holds the word that is looked at.
struct Parser<'a> {
    lexer: Lexer<'a>,
    word: Word,
    span: Span,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, RuleError> {
        let mut lexer = Lexer::new(text);
        let (word, span) = lexer.next()?;
        Ok(Self { lexer, word, span })
    }

    fn any(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut branches = Vec::new();
        let mut last = self.all(depth)?;
        while self.take(&Word::Or)? {
            branches.push(std::mem::replace(&mut last, self.all(depth)?));
        }
        Ok(joined(branches, last, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut parts = Vec::new();
        let mut last = self.unary(depth)?;
        while self.take(&Word::And)? {
            parts.push(std::mem::replace(&mut last, self.unary(depth)?));
        }
        Ok(joined(parts, last, Expression::All))
    }

    fn unary(&mut self, depth: usize) -> Result<Expression, RuleError> {
        let mut is_negated = false;
        while self.take(&Word::Not)? {
            is_negated = !is_negated;
        }
        let inner = match self.word {
            Word::Open => self.group(depth + 1)?,
            Word::Name(_) => Expression::Call(self.call()?),
            _ => return Err(self.unexpected("a matcher such as Host(`example.com`)")),
        };
        Ok(if is_negated { Expression::Not(Box::new(inner)) } else { inner })
    }

    fn group(&mut self, depth: usize) -> Result<Expression, RuleError> {
        if depth > MAX_DEPTH {
            let fault = RuleFault::TooDeep { limit: MAX_DEPTH };
            return Err(RuleError::new(self.span.clone(), fault));
        }
        self.advance()?;
        let inner = self.any(depth)?;
        match self.take(&Word::Close)? {
            true => Ok(inner),
            false => Err(self.unexpected("`&&`, `||` or `)`")),
        }
    }

    fn call(&mut self) -> Result<Call, RuleError> {
        let (word, name_span) = self.advance()?;
        let Word::Name(name) = word else { return Err(self.unexpected("a matcher")) };
        if !self.take(&Word::Open)? {
            return Err(self.unexpected("`(`"));
        }
        let mut args = Vec::new();
        // A comma may stand behind the last one, as in Go.
        while self.word != Word::Close {
            args.push(self.argument()?);
            if !self.take(&Word::Comma)? {
                break;
            }
        }
        let end = self.span.end;
        match self.take(&Word::Close)? {
            true => Ok(Call { name, span: name_span.start..end, name_span, args }),
            false => Err(self.unexpected("`,` or `)`")),
        }
    }

    fn argument(&mut self) -> Result<Argument, RuleError> {
        if !matches!(self.word, Word::Text(_)) {
            return Err(self.unexpected("a string between backticks"));
        }
        let (word, span) = self.advance()?;
        match word {
            Word::Text(value) => Ok(Argument { value, span }),
            _ => Err(self.unexpected("a string between backticks")),
        }
    }

    /// Goes over this word if it is next.
    fn take(&mut self, word: &Word) -> Result<bool, RuleError> {
        let is_next = self.word == *word;
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    /// The word that was looked at; the one after it is looked at from now on.
    fn advance(&mut self) -> Result<(Word, Span), RuleError> {
        let (word, span) = self.lexer.next()?;
        Ok((std::mem::replace(&mut self.word, word), std::mem::replace(&mut self.span, span)))
    }

    fn unexpected(&self, expected: &'static str) -> RuleError {
        let fault = RuleFault::Unexpected { expected, found: self.word.describe() };
        RuleError::new(self.span.clone(), fault)
    }
}

fn joined(
    mut parts: Vec<Expression>,
    last: Expression,
    join: fn(Vec<Expression>) -> Expression,
) -> Expression {
    if parts.is_empty() {
        return last;
    }
    parts.push(last);
    join(parts)
}
