//! The watched directories and where they are.

use std::collections::{HashMap, HashSet};

use crate::files::dirs;

/// What tells one directory from another: device and number.
pub(super) type Identity = (u64, u64);

#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: Option<i32>,
    pub(super) name: Vec<u8>,
    pub(super) identity: Identity,
    children: HashMap<Vec<u8>, i32>,
    /// Entries that were told of because they were found, while the kernel may still be about to tell of them as well.
    pub(super) found: HashSet<Vec<u8>>,
}

/// A tree of them, by the numbers that the kernel gave them. Never a circle: [`place`](Self::place) sees to that.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: HashMap<i32, Node>,
}

/// The directory would be below itself: what is known of the tree is out of date.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle;

impl Nodes {
    pub(super) fn get(&self, wd: i32) -> Option<&Node> {
        self.nodes.get(&wd)
    }

    pub(super) fn get_mut(&mut self, wd: i32) -> Option<&mut Node> {
        self.nodes.get_mut(&wd)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = i32> {
        self.nodes.keys().copied()
    }

    pub(super) fn child(&self, parent: i32, name: &[u8]) -> Option<i32> {
        self.get(parent)?.children.get(name).copied()
    }

    pub(super) fn insert_top(&mut self, wd: i32, identity: Identity) {
        let node = Node {
            parent: None,
            name: Vec::new(),
            identity,
            children: HashMap::new(),
            found: HashSet::new(),
        };
        self.nodes.insert(wd, node);
    }

    /// Puts `wd` at `name` in `parent`, from wherever it was. What else had that place has to be taken out before.
    pub(super) fn place(
        &mut self,
        wd: i32,
        parent: i32,
        name: &[u8],
        identity: Identity,
    ) -> Result<(), Circle> {
        let mut above = Some(parent);
        while let Some(number) = above {
            if number == wd {
                return Err(Circle);
            }
            above = self.get(number).and_then(|node| node.parent);
        }
        self.unlink(wd);
        let node = self.nodes.entry(wd).or_insert_with(|| Node {
            parent: None,
            name: Vec::new(),
            identity,
            children: HashMap::new(),
            found: HashSet::new(),
        });
        node.parent = Some(parent);
        node.name = name.to_vec();
        node.identity = identity;
        if let Some(parent) = self.nodes.get_mut(&parent) {
            parent.children.insert(name.to_vec(), wd);
        }
        Ok(())
    }

    /// Takes `wd` out of its parent's children.
    fn unlink(&mut self, wd: i32) {
        let Some((parent, name)) = self.get(wd).and_then(|node| Some((node.parent?, node.name.clone())))
        else {
            return;
        };
        if let Some(parent) = self.nodes.get_mut(&parent)
            && parent.children.get(&name) == Some(&wd)
        {
            parent.children.remove(&name);
        }
    }

    /// Takes `wd` out with everything below, and returns their numbers.
    pub(super) fn take_out(&mut self, wd: i32) -> Vec<i32> {
        self.unlink(wd);
        let mut gone = Vec::new();
        let mut open = vec![wd];
        while let Some(number) = open.pop() {
            if let Some(node) = self.nodes.remove(&number) {
                open.extend(node.children.into_values());
                gone.push(number);
            }
        }
        gone
    }

    /// The path below the top; empty for the top itself.
    pub(super) fn path(&self, wd: i32) -> Vec<u8> {
        let mut names = Vec::new();
        let mut above = self.get(wd);
        while let Some(node) = above {
            let Some(parent) = node.parent else { break };
            names.push(node.name.as_slice());
            above = self.get(parent);
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The path of `name` in `wd`.
    pub(super) fn path_in(&self, wd: i32, name: &[u8]) -> Vec<u8> {
        dirs::join(&self.path(wd), name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Nodes {
        let mut nodes = Nodes::default();
        nodes.insert_top(1, (0, 1));
        nodes.place(2, 1, b"a", (0, 2)).unwrap();
        nodes.place(3, 2, b"b", (0, 3)).unwrap();
        nodes.place(4, 3, b"c", (0, 4)).unwrap();
        nodes
    }

    #[test]
    fn moving_a_directory_moves_the_paths_below_it() {
        let mut nodes = tree();
        assert_eq!(nodes.path(4), b"a/b/c");
        nodes.place(3, 1, b"new", (0, 3)).unwrap();
        assert_eq!((nodes.path(4), nodes.path_in(1, b"x")), (b"new/c".to_vec(), b"x".to_vec()));
        assert_eq!((nodes.child(2, b"b"), nodes.child(1, b"new")), (None, Some(3)));
    }

    #[test]
    fn a_directory_is_never_put_below_itself() {
        let mut nodes = tree();
        assert_eq!(nodes.place(2, 4, b"x", (0, 2)), Err(Circle));
        assert_eq!(nodes.place(2, 2, b"x", (0, 2)), Err(Circle));
        assert_eq!(nodes.path(4), b"a/b/c");
    }

    #[test]
    fn what_is_taken_out_takes_along_what_is_below() {
        let mut nodes = tree();
        let mut gone = nodes.take_out(3);
        gone.sort_unstable();
        assert_eq!(gone, [3, 4]);
        assert!(nodes.get(4).is_none() && nodes.child(2, b"b").is_none());
    }
}
