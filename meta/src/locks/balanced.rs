//! An ordered map that is a balanced tree (AVL), with a summary of each of its subtrees: a search passes over those in which nothing can be
//! what it looks for.
//!
//! Libraries that hold ranges which overlap find all of them that do. Here a search must also pass over those of its own owner without
//! a step for each; that takes a summary of our own.

use std::cmp::Ordering;

/// Nodes that were looked at: what a call costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Steps(pub(super) usize);

/// What is known of a subtree.
pub(super) trait Summary<K, V>: Copy {
    /// Of one entry.
    fn of(key: &K, value: &V) -> Self;

    /// Of both together.
    fn with(self, other: Self) -> Self;
}

/// The map.
#[derive(Debug)]
pub(super) struct Balanced<K, V, S> {
    root: Link<K, V, S>,
    len: usize,
}

type Tree<K, V, S> = Box<Node<K, V, S>>;
type Link<K, V, S> = Option<Tree<K, V, S>>;

#[derive(Debug)]
struct Node<K, V, S> {
    key: K,
    value: V,
    summary: S,
    height: u8,
    left: Link<K, V, S>,
    right: Link<K, V, S>,
}

/// What a search looks for.
pub(super) struct Search<'a, K, S> {
    /// Only behind this key.
    pub(super) after: Option<&'a K>,
    /// False: no entry of such a subtree is wanted.
    pub(super) may_be_in: &'a dyn Fn(&S) -> bool,
}

impl<K, V, S> Default for Balanced<K, V, S> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<K: Ord, V, S: Summary<K, V>> Balanced<K, V, S> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let mut at = self.root.as_deref();
        while let Some(node) = at {
            at = match key.cmp(&node.key) {
                Ordering::Less => node.left.as_deref(),
                Ordering::Greater => node.right.as_deref(),
                Ordering::Equal => return Some(&node.value),
            };
        }
        None
    }

    /// Adds a key that is not there.
    pub(super) fn insert(&mut self, key: K, value: V) {
        let new = Box::new(Node {
            summary: S::of(&key, &value),
            key,
            value,
            height: 1,
            left: None,
            right: None,
        });
        self.root = Some(inserted(self.root.take(), new));
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (root, value) = removed(self.root.take(), key);
        self.root = root;
        self.len -= usize::from(value.is_some());
        value
    }

    /// Keeps some of the entries, in time in proportion to all.
    pub(super) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        let mut nodes = Vec::with_capacity(self.len);
        flatten(self.root.take(), &mut nodes);
        nodes.retain(|node| keep(&node.key, &node.value));
        self.len = nodes.len();
        self.root = built(&mut nodes.into_iter(), self.len);
    }

    /// All entries, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut ahead = Vec::new();
        let mut at = self.root.as_deref();
        std::iter::from_fn(move || {
            while let Some(node) = at {
                ahead.push(node);
                at = node.left.as_deref();
            }
            let node = ahead.pop()?;
            at = node.right.as_deref();
            Some((&node.key, &node.value))
        })
    }

    /// The first entry that may be wanted, by its own summary.
    pub(super) fn first(&self, search: &Search<'_, K, S>, steps: &mut Steps) -> Option<(&K, &V)> {
        let found = first(self.root.as_deref(), search, steps)?;
        Some((&found.key, &found.value))
    }
}

impl<K, V, S: Summary<K, V>> Node<K, V, S> {
    /// By how many levels the left side is higher.
    fn lean(&self) -> i16 {
        i16::from(height(&self.left)) - i16::from(height(&self.right))
    }

    fn update(&mut self) {
        self.height = 1 + height(&self.left).max(height(&self.right));
        let sides = [&self.left, &self.right].into_iter().flatten();
        let own = S::of(&self.key, &self.value);
        self.summary = sides.fold(own, |summary, side| summary.with(side.summary));
    }
}

fn height<K, V, S>(link: &Link<K, V, S>) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

fn inserted<K: Ord, V, S: Summary<K, V>>(link: Link<K, V, S>, new: Tree<K, V, S>) -> Tree<K, V, S> {
    let Some(mut node) = link else { return new };
    let side = match new.key < node.key {
        true => &mut node.left,
        false => &mut node.right,
    };
    *side = Some(inserted(side.take(), new));
    balanced(node)
}

fn removed<K: Ord, V, S: Summary<K, V>>(link: Link<K, V, S>, key: &K) -> (Link<K, V, S>, Option<V>) {
    let Some(mut node) = link else {
        return (None, None);
    };
    let side = match key.cmp(&node.key) {
        Ordering::Less => &mut node.left,
        Ordering::Greater => &mut node.right,
        Ordering::Equal => {
            let Node {
                value, left, right, ..
            } = *node;
            return (joined(left, right), Some(value));
        }
    };
    let (rest, value) = removed(side.take(), key);
    *side = rest;
    (Some(balanced(node)), value)
}

/// One tree of the two sides of a node that is gone.
fn joined<K, V, S: Summary<K, V>>(left: Link<K, V, S>, right: Link<K, V, S>) -> Link<K, V, S> {
    let Some(right) = right else { return left };
    let (mut first, rest) = without_first(right);
    (first.left, first.right) = (left, rest);
    Some(balanced(first))
}

fn without_first<K, V, S: Summary<K, V>>(mut node: Tree<K, V, S>) -> (Tree<K, V, S>, Link<K, V, S>) {
    let Some(left) = node.left.take() else {
        let rest = node.right.take();
        return (node, rest);
    };
    let (first, rest) = without_first(left);
    node.left = rest;
    (first, Some(balanced(node)))
}

/// Neither side is higher than the other one by more than a level; before it may be two.
fn balanced<K, V, S: Summary<K, V>>(mut node: Tree<K, V, S>) -> Tree<K, V, S> {
    let leans = |side: &Link<K, V, S>| side.as_ref().map_or(0, |node| node.lean());
    match node.lean() {
        2.. => {
            if leans(&node.left) < 0 {
                node.left = node.left.take().map(raise_right);
            }
            raise_left(node)
        }
        ..=-2 => {
            if leans(&node.right) > 0 {
                node.right = node.right.take().map(raise_left);
            }
            raise_right(node)
        }
        _ => {
            node.update();
            node
        }
    }
}

/// The left side becomes the top.
fn raise_left<K, V, S: Summary<K, V>>(mut node: Tree<K, V, S>) -> Tree<K, V, S> {
    let Some(mut top) = node.left.take() else {
        return node;
    };
    node.left = top.right.take();
    node.update();
    top.right = Some(node);
    top.update();
    top
}

/// The right side becomes the top.
fn raise_right<K, V, S: Summary<K, V>>(mut node: Tree<K, V, S>) -> Tree<K, V, S> {
    let Some(mut top) = node.right.take() else {
        return node;
    };
    node.right = top.left.take();
    node.update();
    top.left = Some(node);
    top.update();
    top
}

fn flatten<K, V, S>(link: Link<K, V, S>, into: &mut Vec<Tree<K, V, S>>) {
    let Some(mut node) = link else { return };
    let (left, right) = (node.left.take(), node.right.take());
    flatten(left, into);
    into.push(node);
    flatten(right, into);
}

/// A tree of the next `count` nodes.
fn built<K, V, S: Summary<K, V>>(
    nodes: &mut impl Iterator<Item = Tree<K, V, S>>,
    count: usize,
) -> Link<K, V, S> {
    let before = count / 2;
    let left = (before > 0).then(|| built(nodes, before)).flatten();
    let mut node = nodes.next()?;
    node.left = left;
    let behind = count - before - 1;
    node.right = (behind > 0).then(|| built(nodes, behind)).flatten();
    node.update();
    Some(node)
}

fn first<'a, K: Ord, V, S: Summary<K, V>>(
    node: Option<&'a Node<K, V, S>>,
    search: &Search<'_, K, S>,
    steps: &mut Steps,
) -> Option<&'a Node<K, V, S>> {
    let node = node?;
    steps.0 += 1;
    if !(search.may_be_in)(&node.summary) {
        return None;
    }
    let is_behind = search.after.is_none_or(|after| node.key > *after);
    if is_behind && let Some(found) = first(node.left.as_deref(), search, steps) {
        return Some(found);
    }
    if is_behind && (search.may_be_in)(&S::of(&node.key, &node.value)) {
        return Some(node);
    }
    first(node.right.as_deref(), search, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The least and the greatest value.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Values(u8, u8);

    impl Summary<u16, u8> for Values {
        fn of(_: &u16, value: &u8) -> Self {
            Self(*value, *value)
        }

        fn with(self, other: Self) -> Self {
            Self(self.0.min(other.0), self.1.max(other.1))
        }
    }

    type Map = Balanced<u16, u8, Values>;

    /// Its keys are in order, its sides are balanced and its summary is true.
    fn check(link: &Link<u16, u8, Values>) -> Option<Values> {
        let node = link.as_ref()?;
        assert!(node.lean().abs() <= 1);
        assert_eq!(node.height, 1 + height(&node.left).max(height(&node.right)));
        let sides = [check(&node.left), check(&node.right)];
        let own = Values(node.value, node.value);
        let summary = sides.into_iter().flatten().fold(own, Values::with);
        assert_eq!(node.summary, summary);
        Some(summary)
    }

    fn run(steps: Vec<(u8, u16, u8)>) {
        let (mut map, mut model) = (Map::default(), BTreeMap::new());
        for (step, key, value) in steps {
            match step {
                0..6 if !model.contains_key(&key) => {
                    map.insert(key, value);
                    model.insert(key, value);
                }
                0..9 => assert_eq!(map.remove(&key), model.remove(&key)),
                _ => {
                    map.retain(|_, kept| *kept >= value);
                    model.retain(|_, kept| *kept >= value);
                }
            }
            check(&map.root);
            assert_eq!(map.len(), model.len());
            assert!(map.iter().eq(model.iter()));
            assert_eq!(map.get(&key), model.get(&key));
            let search = Search {
                after: Some(&key),
                may_be_in: &|part: &Values| part.1 >= value && part.0 <= value,
            };
            let found = map.first(&search, &mut Steps::default());
            let wanted = model.range(key + 1..).find(|(_, other)| **other == value);
            assert_eq!(found, wanted);
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_an_ordered_map(
            steps in prop::collection::vec((0..10_u8, 0..300_u16, 0..6_u8), 0..300)
        ) {
            run(steps);
        }
    }

    #[test]
    fn a_key_is_found_in_few_steps_whatever_came_in_which_order() {
        let mut map = Map::default();
        for key in 0..10_000 {
            map.insert(key, u8::from(key == 7_000));
        }
        let search = Search {
            after: None,
            may_be_in: &|part: &Values| part.1 == 1,
        };
        let mut steps = Steps::default();
        assert_eq!(map.first(&search, &mut steps), Some((&7_000, &1)));
        assert!(steps.0 <= 40, "{steps:?}");
    }
}
