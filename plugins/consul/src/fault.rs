//! What is wrong in a text that a person wrote, and where.

/// What is wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// In bytes of the text.
    pub(crate) at: usize,
    /// In lower case, without a full stop.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// One sentence with the place: its number, from 1, and what stands there.
    pub(crate) fn told(&self, text: &str) -> String {
        let at = text.floor_char_boundary(self.at.min(text.len()));
        let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
        let number = before.chars().count() + 1;
        let line = after.lines().next().unwrap_or_default();
        let shown: String = line.chars().take(SHOWN).collect();
        match (line.is_empty(), line.chars().count() > SHOWN) {
            (true, _) => format!("{}, at its end", self.message),
            (false, true) => format!("{}, at character {number}: {shown}…", self.message),
            (false, false) => format!("{}, at character {number}: {shown}", self.message),
        }
    }
}

/// How much of the text is shown.
const SHOWN: usize = 24;

/// A key as it is compared: without case and hyphens.
pub(crate) fn fold(key: &str) -> String {
    key.chars().filter(|letter| *letter != '-').map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The name that was probably meant: the only one that is two slips of the hand away at most.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let far = |other: &str| distance(&name, &other.to_ascii_lowercase());
    let most = (name.len() / 3).clamp(1, 2);
    known.map(|other| (far(other), other)).filter(|(far, _)| *far <= most).min().map(|(_, it)| it)
}

/// `, did you mean …?` where there is something to propose.
pub(crate) fn proposal<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default()
}

/// Levenshtein's: how many letters to add, to take away or to change.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut corner = row.first().copied().unwrap_or_default();
        let mut left = line + 1;
        let mut next = vec![left];
        for (column, counterpart) in other.iter().enumerate() {
            let above = row.get(column + 1).copied().unwrap_or_default();
            left = (corner + usize::from(letter != *counterpart)).min(above + 1).min(left + 1);
            corner = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_number_and_what_stands_there() {
        let told = |at| Fault::new(at, "x").told("é && Tga(`a`) || Tag(`bcdefghijk`)");
        assert_eq!(told(6), "x, at character 6: Tga(`a`) || Tag(`bcdefgh…");
        assert_eq!(told(1), "x, at character 1: é && Tga(`a`) || Tag(`bc…");
        assert_eq!(told(99), "x, at its end");
    }

    #[test]
    fn a_slip_of_the_hand_is_recognised() {
        let known = ["normalize", "trimPrefix", "Tag", "TagRegex"];
        for (name, meant) in [
            ("nomalize", Some("normalize")),
            ("trimprefx", Some("trimPrefix")),
            ("Tga", None),
            ("tags", Some("Tag")),
            ("elephant", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), meant, "{name}");
        }
    }
}
