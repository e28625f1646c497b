//! Problems of a configuration file → text with the place underlined.
//!
//! **Invariant:** every problem is kept until the report is shown, whoever found it and in whatever
//! order; it is shown in the order of the file.

use std::{
    io::IsTerminal,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use portolan_core::problem::{Problem, Severity};

use super::spans::{Spans, line_column};

/// A text to be read as configuration, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As it is shown to people: the path as it was given.
    pub(crate) name: String,
    /// What was read.
    pub(crate) text: Arc<str>,
    /// The file, if it is one.
    pub(crate) file: Option<PathBuf>,
    /// What relative paths in it are relative to; absolute.
    pub(crate) base: PathBuf,
}

/// Where a problem is.
#[derive(Clone, Debug)]
pub(crate) enum Place<'a> {
    /// The value at this JSON Pointer from the root of the file: `/http/routers/a/rule`. If there
    /// is none, the nearest thing around it.
    Pointer(&'a str),
    /// Not in this file; the problem's own `origin` and `path` say where.
    Elsewhere,
}

/// Whether text is for a terminal that knows colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    /// With ANSI sequences.
    Always,
    /// Without.
    Never,
}

impl Colour {
    /// Colours if `stream` is a terminal and `NO_COLOR` (no-color.org) is not set.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if stream.is_terminal() && !refused { Self::Always } else { Self::Never }
    }
}

/// Something wrong in the text, before it is a [`Problem`]: it may have several places.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    severity: Severity,
    message: String,
    hint: Option<String>,
    at: Option<Range<usize>>,
    label: String,
    also: Vec<(Range<usize>, String)>,
    elsewhere: Option<String>,
}

impl Finding {
    pub(super) fn error(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at: Some(at), ..Self::whole(message) }
    }

    /// Concerns the file as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            hint: None,
            at: None,
            label: String::new(),
            also: Vec::new(),
            elsewhere: None,
        }
    }

    /// Stands beside the underline.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// A second place that this one disagrees with.
    pub(super) fn also(mut self, at: Range<usize>, label: impl Into<String>) -> Self {
        self.also.push((at, label.into()));
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn did_you_mean(self, candidate: Option<&str>) -> Self {
        match candidate {
            Some(candidate) => self.hint(format!("did you mean `{candidate}`?")),
            None => self,
        }
    }
}

/// Everything that is wrong with one configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    document: Arc<Document>,
    findings: Vec<Finding>,
}

/// What a report is about; it never changes, so clones share it.
#[derive(Debug)]
struct Document {
    source: Source,
    spans: Spans,
}

impl Report {
    pub(super) fn new(source: Source, spans: Spans, findings: Vec<Finding>) -> Self {
        Self { document: Arc::new(Document { source, spans }), findings }
    }

    /// A report about a file that could not even be read.
    pub(super) fn unreadable(path: &Path, message: String, hint: &str) -> Self {
        let source = Source {
            name: path.display().to_string(),
            text: "".into(),
            file: Some(path.to_owned()),
            base: PathBuf::new(),
        };
        Self::new(source, Spans::default(), vec![Finding::whole(message).hint(hint)])
    }

    /// Adds a problem that was found after loading, such as a rule that does not parse.
    pub(crate) fn add(&mut self, place: Place<'_>, problem: Problem) {
        let mut finding = match place {
            Place::Pointer(pointer) => match self.document.spans.locate(pointer) {
                Some(span) => Finding::error(span, problem.message),
                None => Finding::whole(problem.message),
            },
            Place::Elsewhere => Finding {
                elsewhere: Some(if problem.path.is_empty() {
                    problem.origin
                } else {
                    format!("{} at {}", problem.origin, problem.path)
                }),
                ..Finding::whole(problem.message)
            },
        };
        finding.severity = problem.severity;
        finding.hint = problem.hint;
        self.findings.push(finding);
    }

    /// Whether there is anything to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether anything in it is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// What was read.
    pub(crate) fn source(&self) -> &Source {
        &self.document.source
    }

    /// The findings as problems for log and dashboard, each with `file:line:column` as its origin.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let problem = |finding: &Finding| {
            let origin = match &finding.elsewhere {
                Some(origin) => origin.clone(),
                None => self.position(finding.at.as_ref()),
            };
            Problem {
                severity: finding.severity,
                hint: finding.hint.clone(),
                ..Problem::error("config", origin, finding.message.clone())
            }
        };
        self.in_order().into_iter().map(problem).collect()
    }

    /// Every problem with its line underlined, and a last line that counts them.
    pub(crate) fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Always => Renderer::styled(),
            Colour::Never => Renderer::plain(),
        };
        let mut text = String::new();
        for finding in self.in_order() {
            text.push_str(&renderer.render(&[self.group(finding)]));
            text.push_str("\n\n");
        }
        text.push_str(&format!("{}: {}\n", self.document.source.name, self.count()));
        text
    }

    fn position(&self, at: Option<&Range<usize>>) -> String {
        let Source { name, text, .. } = self.source();
        match at.map(|at| line_column(text, at.start)) {
            Some((line, column)) => format!("{name}:{line}:{column}"),
            None => name.clone(),
        }
    }

    /// `2 errors, 1 warning`.
    fn count(&self) -> String {
        let of = |severity| self.findings.iter().filter(|f| f.severity == severity).count();
        let parts = [(of(Severity::Error), "error"), (of(Severity::Warning), "warning")];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = parts.map(|(count, noun)| counted(*count, noun)).collect();
        if parts.is_empty() { "ok".to_owned() } else { parts.join(", ") }
    }

    fn in_order(&self) -> Vec<&Finding> {
        let mut findings: Vec<_> = self.findings.iter().collect();
        findings.sort_by_key(|finding| {
            (finding.elsewhere.clone(), finding.at.as_ref().map(|at| at.start))
        });
        findings
    }

    fn group<'a>(&'a self, finding: &'a Finding) -> Group<'a> {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(finding.message.as_str());
        let name = self.document.source.name.as_str();
        let group = match (&finding.elsewhere, &finding.at) {
            (Some(origin), _) => title.element(Origin::path(origin.as_str())),
            (None, None) => title.element(Origin::path(name)),
            (None, Some(at)) => title.element(self.snippet(finding, at).path(name)),
        };
        match &finding.hint {
            Some(hint) => group.element(Level::HELP.message(hint.as_str())),
            None => group,
        }
    }

    /// The lines that a finding concerns. Not the whole file: the renderer goes through all that it
    /// is given, for each finding.
    fn snippet<'a>(
        &'a self,
        finding: &'a Finding,
        at: &Range<usize>,
    ) -> Snippet<'a, Annotation<'a>> {
        let text: &str = &self.document.source.text;
        let at = within(text, at);
        let also = finding.also.iter().map(|(span, label)| (within(text, span), label.as_str()));
        let also: Vec<_> = also.collect();
        let first = also.iter().map(|(span, _)| span.start).fold(at.start, usize::min);
        let last = also.iter().map(|(span, _)| span.end).fold(at.end, usize::max);

        let before = text.get(..first).unwrap_or("");
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let after = text.get(last..).unwrap_or("");
        let end = last + after.find('\n').unwrap_or(after.len());
        let lines = text.get(start..end).unwrap_or("");
        let shift = |span: Range<usize>| span.start - start..span.end - start;

        let label = Some(finding.label.as_str()).filter(|label| !label.is_empty());
        let (first_line, _) = line_column(text, start);
        Snippet::source(lines)
            .line_start(first_line)
            .annotations(
                also.into_iter()
                    .map(|(span, label)| AnnotationKind::Context.span(shift(span)).label(label)),
            )
            .annotation(AnnotationKind::Primary.span(shift(at)).label(label))
    }
}

/// `1 router`, `2 routers`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The part of `span` on its first line, within `text` and on character boundaries: the renderer
/// panics on others, and a list over ten lines need not be underlined whole.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.ceil_char_boundary(span.end.max(start));
    let first_line = text.get(start..end).and_then(|part| part.lines().next()).unwrap_or("");
    start..start + first_line.trim_end().len()
}
