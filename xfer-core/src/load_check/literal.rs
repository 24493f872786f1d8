//! Values as Python writes them: what stands in the header of an array of NumPy.

/// Values within each other.
const DEPTH_MAX: u8 = 16;

/// A value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Literal<'a> {
    Truth(bool),
    Whole(u64),
    Text(&'a str),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Fields(Vec<(&'a str, Self)>),
}

impl<'a> Literal<'a> {
    /// Reads a text that is one value.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut reader = Reader { rest: text.trim_start() };
        let value = reader.value(DEPTH_MAX)?;
        reader.rest.is_empty().then_some(value)
    }

    /// What stands under a name, once.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        let Self::Fields(fields) = self else { return None };
        let mut found = fields.iter().filter(|(own, _)| *own == name);
        found.next().filter(|_| found.next().is_none()).map(|(_, value)| value)
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Takes a mark, and the blanks behind it.
    fn takes(&mut self, mark: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(mark) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn value(&mut self, depth: u8) -> Option<Literal<'a>> {
        let depth = depth.checked_sub(1)?;
        if self.takes("{") {
            let mut fields = Vec::new();
            while !self.takes("}") {
                let name = self.text()?;
                self.takes(":").then_some(())?;
                fields.push((name, self.value(depth)?));
                self.is_next("}")?;
            }
            return Some(Literal::Fields(fields));
        }
        if self.takes("[") {
            return self.sequence("]", depth).map(Literal::List);
        }
        if self.takes("(") {
            return self.sequence(")", depth).map(Literal::Tuple);
        }
        if self.takes("True") {
            return Some(Literal::Truth(true));
        }
        if self.takes("False") {
            return Some(Literal::Truth(false));
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.text().map(Literal::Text);
        }
        let end = self.rest.find(|letter: char| !letter.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        // Python 2 wrote long numbers with an L.
        self.rest = rest.strip_prefix('L').unwrap_or(rest).trim_start();
        digits.parse().ok().map(Literal::Whole)
    }

    fn sequence(&mut self, close: &str, depth: u8) -> Option<Vec<Literal<'a>>> {
        let mut values = Vec::new();
        while !self.takes(close) {
            values.push(self.value(depth)?);
            self.is_next(close)?;
        }
        Some(values)
    }

    /// Either a comma, which is taken, or the end that follows.
    fn is_next(&mut self, close: &str) -> Option<()> {
        (self.takes(",") || self.rest.starts_with(close)).then_some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        let mut letters = self.rest.chars();
        let quote = letters.next().filter(|letter| matches!(letter, '\'' | '"'))?;
        let inside = letters.as_str();
        let end = inside.find(quote)?;
        // Where a quote is escaped the text ends too early, and what follows is no value.
        let text = &inside[..end];
        self.rest = inside[end + 1..].trim_start();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_an_array_is_read() {
        let text = "{'descr': [('a', '<f4'), ('b', '|S3', (2,))], 'fortran_order': False, \
                    'shape': (3, 4L), }";
        let head = Literal::parse(text).unwrap();
        let shape = Literal::Tuple(vec![Literal::Whole(3), Literal::Whole(4)]);
        assert_eq!(head.field("shape"), Some(&shape));
        assert_eq!(head.field("fortran_order"), Some(&Literal::Truth(false)));
        assert!(matches!(head.field("descr"), Some(Literal::List(fields)) if fields.len() == 2));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let deep = "(".repeat(100_000);
        for text in ["", "{", "(1 2)", "-1", "x", "'a", "{'a' 1}", "1 1", "(,)", &deep] {
            assert_eq!(Literal::parse(text), None, "{text:.20}");
        }
    }
}
