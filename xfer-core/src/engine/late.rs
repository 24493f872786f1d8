//! Entries whose metadata is set last, kept as a tree of names: whole paths of a deep tree would
//! take the square of its depth.

use xfer_protocol::manifest::Metadata;
use xfer_protocol::message::Ticket;
use xfer_protocol::path::RelPath;

/// Entries in the order of their paths, in which they must be given.
#[derive(Default)]
pub(super) struct Late {
    nodes: Vec<Node>,
    /// The path that was given last, and the nodes that lead to it, each with where its name ends.
    last: Vec<u8>,
    leading: Vec<(usize, usize)>,
    entries: Vec<LateEntry>,
    root_touched: bool,
}

struct Node {
    /// `None` at the top.
    parent: Option<usize>,
    name: Box<[u8]>,
    touched: bool,
}

struct LateEntry {
    /// `None` for the root.
    node: Option<usize>,
    ticket: Ticket,
    metadata: Metadata,
    if_touched: bool,
}

impl Late {
    /// Adds an entry whose metadata must be set.
    pub(super) fn add(&mut self, path: &RelPath, ticket: Ticket, metadata: Metadata) {
        let node = self.node(path.as_bytes());
        self.entries.push(LateEntry { node, ticket, metadata, if_touched: false });
    }

    /// Adds a directory whose metadata must be set if something in it changes.
    pub(super) fn add_if_touched(&mut self, path: &RelPath, ticket: Ticket, metadata: Metadata) {
        let node = self.node(path.as_bytes());
        self.entries.push(LateEntry { node, ticket, metadata, if_touched: true });
    }

    /// Notes that an entry changes, and with it the times of its directory.
    pub(super) fn touch_parent(&mut self, path: &RelPath) {
        let path = path.as_bytes();
        let parent = path.iter().rposition(|b| *b == b'/').map_or(&path[..0], |at| &path[..at]);
        match self.node(parent) {
            Some(node) => self.nodes[node].touched = true,
            None => self.root_touched = true,
        }
    }

    /// Entries to be set, children before their parents.
    pub(super) fn into_entries(mut self) -> impl Iterator<Item = (Ticket, RelPath, Metadata)> {
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().rev().filter_map(move |entry| {
            let touched = entry.node.map_or(self.root_touched, |node| self.nodes[node].touched);
            let path = (touched || !entry.if_touched).then(|| self.path(entry.node))?;
            Some((entry.ticket, RelPath::new(path).ok()?, entry.metadata))
        })
    }

    fn node(&mut self, path: &[u8]) -> Option<usize> {
        let same = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        let leads = |end: usize| end <= same && (path.len() == end || path.get(end) == Some(&b'/'));
        while self.leading.last().is_some_and(|(end, _)| !leads(*end)) {
            self.leading.pop();
        }
        let mut start = self.leading.last().map_or(0, |(end, _)| end + 1);
        while start < path.len() {
            let length = path[start..].iter().position(|b| *b == b'/');
            let end = length.map_or(path.len(), |length| start + length);
            let parent = self.leading.last().map(|(_, node)| *node);
            self.nodes.push(Node { parent, name: path[start..end].into(), touched: false });
            self.leading.push((end, self.nodes.len() - 1));
            start = end + 1;
        }
        self.last.clear();
        self.last.extend_from_slice(path);
        self.leading.last().map(|(_, node)| *node)
    }

    fn path(&self, mut node: Option<usize>) -> Vec<u8> {
        let mut names = Vec::new();
        while let Some(at) = node {
            names.push(&self.nodes[at].name[..]);
            node = self.nodes[at].parent;
        }
        names.reverse();
        names.join(&b'/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        if text.is_empty() { RelPath::root() } else { RelPath::new(text).unwrap() }
    }

    #[test]
    fn children_come_before_their_parents_and_what_is_untouched_not_at_all() {
        let mut late = Late::default();
        let given = ["", "a", "a/b", "a/bc", "a/bc/d", "ab", "ab/c"];
        for (number, text) in (0_u64..).zip(given) {
            let metadata = Metadata { mode: u32::try_from(number).unwrap(), ..Metadata::default() };
            match text {
                "" | "a/bc" | "ab" => late.add_if_touched(&path(text), Ticket(number), metadata),
                _ => late.add(&path(text), Ticket(number), metadata),
            }
            if text == "a/bc/d" {
                late.touch_parent(&path("a/bc/d"));
            }
        }
        late.touch_parent(&path("b"));
        let told: Vec<_> = late.into_entries().map(|(t, p, m)| (t.0, p, m.mode)).collect();
        let expected = [(6, "ab/c"), (4, "a/bc/d"), (3, "a/bc"), (2, "a/b"), (1, "a"), (0, "")];
        let expected: Vec<_> =
            expected.map(|(n, text)| (n, path(text), u32::try_from(n).unwrap())).into();
        assert_eq!(told, expected);
    }

    /// Five thousand levels are held by their names, not by their paths.
    #[test]
    fn a_deep_tree_is_held_by_its_names() {
        let mut late = Late::default();
        let deep = vec!["name"; 5000].join("/");
        for level in 1..=5000 {
            let at = path(&deep[..level * 5 - 1]);
            late.touch_parent(&at);
            late.add(&at, Ticket(level as u64), Metadata::default());
        }
        let bytes: usize = late.nodes.iter().map(|node| node.name.len()).sum();
        assert_eq!((late.nodes.len(), bytes), (5000, 20_000));
        let paths: Vec<_> = late.into_entries().map(|(_, path, _)| path).collect();
        assert!(paths[0] == path(&deep) && paths[4999] == path("name"));
    }
}
