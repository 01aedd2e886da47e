//! A set of bytes.

use rdmafs_meta::lock::Span;

/// Spans beyond so many are taken together with what lies between them: too much is given back then, which is harmless.
const MOST: usize = 1024;

/// Bytes of a file, as spans that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<Span>);

impl Spans {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn overlaps(&self, span: Span) -> bool {
        self.0.iter().any(|other| other.overlaps(span))
    }

    pub(super) fn add(&mut self, mut span: Span) {
        self.0.retain(|other| match other.joined(span) {
            Some(joined) => {
                span = joined;
                false
            }
            None => true,
        });
        self.0.push(span);
        if self.0.len() > MOST {
            self.0 = vec![Span::WHOLE];
        }
    }

    pub(super) fn remove(&mut self, span: Span) {
        let parts = self.0.iter().flat_map(|other| other.without(span));
        self.0 = parts.collect();
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_bytes() {
        let span = |start, last| Span::new(start, last).unwrap();
        let mut spans = Spans::default();
        spans.add(span(0, 9));
        spans.add(span(20, 29));
        assert!(spans.overlaps(span(9, 15)) && !spans.overlaps(span(10, 19)));
        spans.add(span(10, 19));
        assert_eq!(spans.0, [span(0, 29)]);
        spans.remove(span(5, 5));
        assert!(!spans.overlaps(span(5, 5)));
        spans.remove(Span::WHOLE);
        assert!(spans.is_empty());
        (0..5000).for_each(|at| spans.add(span(at * 2, at * 2)));
        assert!(spans.0.len() <= MOST && spans.overlaps(span(4000, 4000)));
    }
}
