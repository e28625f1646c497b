//! What works in a plan, but is perhaps not what was meant.

use crate::{
    middleware::{Action, Interest},
    pattern::{Pattern, Remark, Rewriting},
};

impl Interest {
    /// What is perhaps not meant as it was configured.
    pub fn remarks(&self) -> Vec<Remark> {
        self.plan.iter().flat_map(|step| &step.actions).flat_map(remarks).collect()
    }
}

fn remarks(action: &Action) -> Vec<Remark> {
    match action {
        Action::ReplacePath(path) => query("/path", path).into_iter().collect(),
        Action::RewritePath(rewriting) => of_path(rewriting),
        Action::RedirectPattern(redirect) => redirect.rewriting.remarks(),
        Action::StripPrefixPattern(patterns) => torn(patterns),
        _ => Vec::new(),
    }
}

fn of_path(rewriting: &Rewriting) -> Vec<Remark> {
    let mut remarks = rewriting.remarks();
    remarks.extend(rewriting.literals().find_map(|text| query("/replacement", text)));
    remarks
}

/// What is meant for the query does not get there.
fn query(option: &str, path: &str) -> Option<Remark> {
    path.contains('?').then(|| Remark {
        option: option.to_owned(),
        message: "a `?` here is part of the path, and is sent as `%3F`".to_owned(),
        hint: Some("the query of a request stays as it is".to_owned()),
    })
}

/// A repetition that was torn apart: in a tag a comma separates expressions.
fn torn(patterns: &[Pattern]) -> Vec<Remark> {
    let pairs = patterns.iter().zip(patterns.iter().skip(1)).enumerate();
    let torn = pairs.filter(|(_, (one, next))| {
        let least = one.text().rsplit_once('{').map(|(_, least)| least);
        let most = next.text().split_once('}').map(|(most, _)| most);
        let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        least.is_some_and(|least| !least.is_empty() && is_number(least))
            && most.is_some_and(is_number)
    });
    let remark = |(place, (one, next)): (usize, (&Pattern, &Pattern))| Remark {
        option: format!("/regex/{place}"),
        message: format!("`{}` and `{}` are two expressions", one.text(), next.text()),
        hint: Some(
            "in a tag a comma separates them, as in Traefik: write the repetition without one"
                .to_owned(),
        ),
    };
    torn.map(remark).collect()
}
