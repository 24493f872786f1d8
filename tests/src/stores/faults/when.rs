//! Which requests a fault is meant for

use std::ops::{Bound, RangeBounds};

use super::super::http::{Message, decoded};

/// Requests, and which of them, counted from 1
#[derive(Clone, Debug)]
pub struct When {
    method: &'static str,
    has: Vec<(&'static str, Option<String>)>,
    lacks: Vec<&'static str>,
    end: Option<String>,
    ranged: bool,
    first: usize,
    last: usize,
}

impl When {
    /// Every request with that method; with any, where it is empty
    pub fn method(method: &'static str) -> Self {
        let (has, lacks) = (Vec::new(), Vec::new());
        Self { method, has, lacks, end: None, ranged: false, first: 1, last: usize::MAX }
    }

    /// What an object is
    pub fn head() -> Self {
        Self::method("HEAD")
    }

    /// Bytes of an object
    pub fn get() -> Self {
        Self::method("GET").without("list-type").without("uploadId").without("uploads")
    }

    /// An object written whole
    pub fn put() -> Self {
        Self::method("PUT").without("partNumber")
    }

    /// A list of objects
    pub fn list() -> Self {
        Self::method("GET").with("list-type", None)
    }

    /// The begin of an upload in parts
    pub fn begin() -> Self {
        Self::method("POST").with("uploads", None)
    }

    /// Any part
    pub fn part() -> Self {
        Self::method("PUT").with("partNumber", None)
    }

    /// That part
    pub fn part_number(number: u32) -> Self {
        Self::method("PUT").with("partNumber", Some(number.to_string()))
    }

    /// A list of parts
    pub fn parts() -> Self {
        Self::method("GET").with("uploadId", None)
    }

    /// The end of an upload in parts
    pub fn complete() -> Self {
        Self::method("POST").with("uploadId", None)
    }

    /// Those that name this in their query, with that value where there is one
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<String>) -> Self {
        self.has.push((name, value));
        self
    }

    /// Those that do not name this in their query
    #[must_use]
    pub fn without(mut self, name: &'static str) -> Self {
        self.lacks.push(name);
        self
    }

    /// Those whose path ends so, decoded
    #[must_use]
    pub fn of(mut self, end: &str) -> Self {
        self.end = Some(end.to_owned());
        self
    }

    /// Those that ask for a range
    #[must_use]
    pub fn with_range(mut self) -> Self {
        self.ranged = true;
        self
    }

    /// Only these of them
    #[must_use]
    pub fn only(mut self, which: impl RangeBounds<usize>) -> Self {
        self.first = match which.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 1,
        };
        self.last = match which.end_bound() {
            Bound::Included(last) => *last,
            Bound::Excluded(after) => after - 1,
            Bound::Unbounded => usize::MAX,
        };
        self
    }

    /// Only the first of them
    #[must_use]
    pub fn once(self) -> Self {
        self.only(1..=1)
    }

    pub(super) fn means(&self, request: &Message) -> bool {
        let has = |(name, value): &(&str, Option<String>)| {
            let asked = request.asks(name);
            asked.is_some_and(|asked| value.as_ref().is_none_or(|value| *value == asked))
        };
        (!self.ranged || request.get("range").is_some())
            && (self.method.is_empty() || request.method() == self.method)
            && self.has.iter().all(has)
            && self.lacks.iter().all(|name| request.asks(name).is_none())
            && self.end.as_ref().is_none_or(|end| decoded(request.path()).ends_with(end))
    }

    pub(super) fn covers(&self, number: usize) -> bool {
        (self.first..=self.last).contains(&number)
    }
}
