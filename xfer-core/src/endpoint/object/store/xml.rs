//! The little XML that stores speak, read with limits.
//!
//! An answer becomes a small tree of elements: no attribute, no comment and no name space means
//! anything here, nothing is expanded but the five entities and numbers, and a document type is
//! refused.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::{StoreError, StoreResult};

/// Bytes of an answer; a page of 1,000 keys of 1,024 bytes, each written as `%XX`, has half of it.
pub(crate) const XML_BYTES_MAX: usize = 8 << 20;

/// Elements within elements; the deepest answer that is known has five.
const DEPTH_MAX: usize = 16;

/// Elements of an answer; a page of 1,000 objects has some 11,000.
const ELEMENTS_MAX: usize = 1 << 16;

/// Bytes of an element's attributes, which are name spaces at most.
const ATTRIBUTE_BYTES_MAX: usize = 4096;

/// An element: what it holds is text or elements, and of both the elements count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Without its name space.
    pub(crate) name: String,
    /// As it is, white space included.
    pub(crate) text: String,
    /// In their order.
    pub(crate) children: Vec<Self>,
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// [`StoreError::Nonsense`] where it is none, or more than a limit.
    pub(crate) fn parse(document: &[u8]) -> StoreResult<Self> {
        if document.len() > XML_BYTES_MAX {
            return Err(nonsense("an answer of too many bytes"));
        }
        let text = std::str::from_utf8(document).map_err(|_| nonsense("an answer is no UTF-8"))?;
        // White space keeps a connection open while a store works, and may stand before all else.
        let mut reader = Reader::from_str(text.trim_start_matches(['\u{feff}', ' ', '\r', '\n']));
        reader.config_mut().expand_empty_elements = true;
        let mut tree = Tree::default();
        while tree.take(reader.read_event().map_err(|_| nonsense("an answer is no XML"))?)? {}
        tree.whole.ok_or_else(|| nonsense("an answer without XML"))
    }

    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of that name; `None` where there is none or it is empty.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        let text = self.child(name)?.text.as_str();
        (!text.is_empty()).then_some(text)
    }
}

/// Text as it stands in an element.
pub(crate) fn escaped(text: &str) -> std::borrow::Cow<'_, str> {
    quick_xml::escape::escape(text)
}

/// What was read so far.
#[derive(Default)]
struct Tree {
    /// Elements that are not over, the outermost first.
    open: Vec<Element>,
    whole: Option<Element>,
    elements: usize,
}

impl Tree {
    /// Whether there is more to come.
    fn take(&mut self, event: Event<'_>) -> StoreResult<bool> {
        match event {
            Event::Start(start) | Event::Empty(start) => {
                let attributes = start.attributes_raw().len();
                let name = start.local_name();
                let name = String::from_utf8_lossy(name.as_ref()).into_owned();
                self.begin(name, attributes)?;
            }
            Event::End(_) => self.end()?,
            Event::Text(text) => {
                let text = text.xml10_content();
                self.add(&text.map_err(|_| nonsense("text is no UTF-8"))?)?;
            }
            Event::CData(text) => {
                let text = text.xml10_content();
                self.add(&text.map_err(|_| nonsense("text is no UTF-8"))?)?;
            }
            Event::GeneralRef(entity) => {
                let entity = meant(&entity).ok_or_else(|| nonsense("an entity of its own"))?;
                self.add(entity.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(declaration) => {
                let is_utf8 = declaration.encoding().is_none_or(|encoding| {
                    encoding.is_ok_and(|name| name.eq_ignore_ascii_case(b"utf-8"))
                });
                if !is_utf8 {
                    return Err(nonsense("an encoding other than UTF-8"));
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err(nonsense("a document type")),
            Event::Eof if self.open.is_empty() => return Ok(false),
            Event::Eof => return Err(nonsense("an answer that ends in the middle")),
        }
        Ok(true)
    }

    fn begin(&mut self, name: String, attributes: usize) -> StoreResult<()> {
        self.elements += 1;
        let is_too_much = self.elements > ELEMENTS_MAX
            || self.open.len() >= DEPTH_MAX
            || attributes > ATTRIBUTE_BYTES_MAX;
        match (is_too_much, self.whole.is_some()) {
            (true, _) => Err(nonsense("an answer of too many elements or attributes")),
            (false, true) => Err(nonsense("two answers in one")),
            (false, false) => {
                self.open.push(Element { name, ..Element::default() });
                Ok(())
            }
        }
    }

    fn end(&mut self) -> StoreResult<()> {
        let over = self.open.pop().ok_or_else(|| nonsense("an end without a beginning"))?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(over),
            None => self.whole = Some(over),
        }
        Ok(())
    }

    fn add(&mut self, text: &str) -> StoreResult<()> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(nonsense("text outside of all elements")),
        }
        Ok(())
    }
}

fn meant(entity: &BytesRef<'_>) -> Option<char> {
    if entity.is_char_ref() {
        return entity.resolve_char_ref().ok()?;
    }
    match entity.decode().ok()?.as_ref() {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

fn nonsense(what: &str) -> StoreError {
    StoreError::Nonsense(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let document = b" \n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- so -->\
            <a:List xmlns:a=\"x\"><Key> a&amp;&lt;&#x41;&#10;<![CDATA[<b>]]> </Key><Empty/>\
            <Key>\xc3\xa4</Key></a:List>\n";
        let list = Element::parse(document).unwrap();
        assert_eq!(list.name, "List");
        let keys: Vec<_> = list.all("Key").map(|key| key.text.as_str()).collect();
        assert_eq!(keys, [" a&<A\n<b> ", "ä"]);
        assert_eq!(list.text_of("Empty"), None);
        assert_eq!(list.text_of("Absent"), None);
        assert_eq!(list.text_of("Key"), Some(" a&<A\n<b> "));
    }

    #[test]
    fn what_is_no_answer() {
        let attributes = (0..100_000).map(|n| format!(" a{n}=\"x\"")).collect::<String>();
        let spaces = (0..1_000_000).map(|n| format!(" xmlns:n{n}=''")).collect::<String>();
        let deep = |by: usize| format!("{}x{}", "<a>".repeat(by), "</a>".repeat(by));
        let many = |by: usize| format!("<l>{}</l>", "<a/>".repeat(by));
        assert!(Element::parse(deep(DEPTH_MAX).as_bytes()).is_ok());
        assert!(Element::parse(many(ELEMENTS_MAX - 1).as_bytes()).is_ok());
        let rows = [
            format!("<a{attributes}/>"),
            format!("<a{spaces}/>"),
            deep(DEPTH_MAX + 1),
            deep(1_000_000),
            many(ELEMENTS_MAX),
            format!("<a>{}</a>", "x".repeat(XML_BYTES_MAX)),
            "<!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>".to_owned(),
            "<a>&b;</a>".to_owned(),
            "<a>&#0;</a>".to_owned(),
            "<a>&#x110000;</a>".to_owned(),
            "<a>& b</a>".to_owned(),
            "<a></b>".to_owned(),
            "</a>".to_owned(),
            "<a>".to_owned(),
            "<a/><b/>".to_owned(),
            "<a/>x".to_owned(),
            "x<a/>".to_owned(),
            "<a".to_owned(),
            "<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>".to_owned(),
            String::new(),
            "{}".to_owned(),
        ];
        for row in rows {
            let shown: String = row.chars().take(60).collect();
            let outcome = Element::parse(row.as_bytes());
            assert!(matches!(outcome, Err(StoreError::Nonsense(_))), "{shown}: {outcome:?}");
        }
        assert!(matches!(Element::parse(b"<a>\xff</a>"), Err(StoreError::Nonsense(_))));
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        let text = "a<b>&\"c' ä %41";
        let document = format!("<a>{}</a>", escaped(text));
        assert_eq!(Element::parse(document.as_bytes()).unwrap().text, text);
    }
}
