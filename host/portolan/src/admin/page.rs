//! Lists as Traefik's API gives them: searched, filtered, sorted, in pages.
//!
//! **Invariant:** the parameters and headers are Traefik's (`search`, `status`, `sortBy`,
//! `direction`, `page`, `per_page`, `X-Next-Page` with 1 for "no more"); `X-Total-Count` is ours.

use axum::{
    Json,
    http::{HeaderName, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::api::Refusal;

const NEXT_PAGE: HeaderName = HeaderName::from_static("x-next-page");
const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// What is asked of a list.
#[derive(Debug)]
pub(super) struct Wanted {
    parameters: Vec<(String, String)>,
    page: usize,
    per_page: usize,
}

impl Wanted {
    /// Reads the parameters; unknown ones are ignored, as Traefik does.
    pub(super) fn parse(parameters: Vec<(String, String)>) -> Result<Self, Refusal> {
        let number = |name: &str, default: usize| match find(&parameters, name) {
            None | Some("") => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(Refusal::bad(format!("invalid request: {name}: {text}"))),
            },
        };
        let (page, per_page) = (number("page", 1)?, number("per_page", 100)?);
        Ok(Self { parameters, page, per_page })
    }

    /// A parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        find(&self.parameters, name).filter(|value| !value.is_empty())
    }

    /// Whether one of these texts holds what is searched, in any case.
    pub(super) fn finds<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let Some(search) = self.get("search") else { return true };
        let search = search.to_lowercase();
        texts.into_iter().any(|text| text.to_lowercase().contains(&search))
    }

    /// Whether a parameter is absent, or is this word in any case.
    pub(super) fn accepts(&self, name: &str, word: &str) -> bool {
        self.get(name).is_none_or(|wanted| wanted.eq_ignore_ascii_case(word))
    }

    /// Sorts by what `key` gives for `sortBy`, then by the name, which it gives for `name`.
    pub(super) fn sort<T, K: Ord>(&self, list: &mut [T], key: impl Fn(&T, &str) -> K) {
        let by = self.get("sortBy").unwrap_or("name");
        list.sort_by_cached_key(|item| (key(item, by), key(item, "name")));
        if self.get("direction") == Some("desc") {
            list.reverse();
        }
    }

    /// The items of the wanted page, and the headers that say where it stands.
    pub(super) fn cut<'a, T>(&self, list: &'a [T]) -> Result<Page<'a, T>, Refusal> {
        let (page, per_page) = (self.page, self.per_page);
        let start = (page - 1).saturating_mul(per_page);
        if start > 0 && start >= list.len() {
            let message = format!("invalid request: page: {page}, per_page: {per_page}");
            return Err(Refusal::bad(message));
        }
        let end = start.saturating_add(per_page).min(list.len());
        let next = if end < list.len() { page + 1 } else { 1 };
        Ok(Page { items: list.get(start..end).unwrap_or_default(), next, total: list.len() })
    }
}

/// A part of a list.
pub(super) struct Page<'a, T> {
    /// Its items.
    pub(super) items: &'a [T],
    next: usize,
    total: usize,
}

impl<T> Page<'_, T> {
    /// The answer with this body.
    pub(super) fn answer(&self, body: &impl Serialize) -> Response {
        let headers = [(NEXT_PAGE, self.next.to_string()), (TOTAL_COUNT, self.total.to_string())];
        (StatusCode::OK, headers, Json(body)).into_response()
    }
}

fn find<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    fn wanted(query: &[(&str, &str)]) -> Wanted {
        let pairs = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Wanted::parse(pairs.collect()).unwrap_or_else(|_| panic!("{query:?} is fine"))
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let list: Vec<u32> = (0..5).collect();
        for (page, items, next) in [("1", vec![0, 1], 2), ("2", vec![2, 3], 3), ("3", vec![4], 1)] {
            let wanted = wanted(&[("page", page), ("per_page", "2")]);
            let cut = wanted.cut(&list).unwrap_or_else(|_| panic!("page {page}"));
            assert_eq!((cut.items.to_vec(), cut.next, cut.total), (items, next, 5));
        }
        assert!(wanted(&[("page", "4"), ("per_page", "2")]).cut(&list).is_err());
        assert!(wanted(&[("page", "18446744073709551615")]).cut(&list).is_err());
        assert!(wanted(&[]).cut::<u32>(&[]).is_ok(), "an empty list has a first page");
    }

    #[test]
    fn numbers_that_make_no_page_are_refused() {
        for value in ["0", "-1", "x", "99999999999999999999999"] {
            let parameters = vec![("page".to_owned(), value.to_owned())];
            assert!(Wanted::parse(parameters).is_err(), "{value}");
        }
    }

    #[test]
    fn search_looks_at_every_text_in_any_case() {
        let wanted = wanted(&[("search", "GraF")]);
        assert!(wanted.finds(["x", "Host(`grafana.local`)"]));
        assert!(!wanted.finds(["x", "y"]));
    }

    #[test]
    fn sorting_is_stable_over_equal_keys() {
        let mut list = vec![("b", 1), ("a", 1), ("c", 0)];
        let key = |item: &(&'static str, i32), by: &str| match by {
            "rank" => item.1.to_string(),
            _ => item.0.to_owned(),
        };
        wanted(&[("sortBy", "rank")]).sort(&mut list, key);
        assert_eq!(list, [("c", 0), ("a", 1), ("b", 1)]);
        wanted(&[("direction", "desc")]).sort(&mut list, key);
        assert_eq!(list, [("c", 0), ("b", 1), ("a", 1)]);
    }
}
