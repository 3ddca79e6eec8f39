//! Values that took work to make, kept while there is room for them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A map bounded in bytes: of what does not fit, the least recently used goes.
#[derive(Debug)]
pub struct Lru<K, V> {
    most_bytes: usize,
    bytes: usize,
    clock: u64,
    kept: HashMap<K, Kept<V>>,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Eq + Hash + Clone, V: Clone> Lru<K, V> {
    /// An empty map for at most `most_bytes`.
    pub fn new(most_bytes: usize) -> Self {
        Self { most_bytes, bytes: 0, clock: 0, kept: HashMap::new() }
    }

    /// The value of a key, which is then the most recently used.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.clock += 1;
        let kept = self.kept.get_mut(key)?;
        kept.used = self.clock;
        Some(kept.value.clone())
    }

    /// Keeps a value that takes `bytes`, if it can ever fit.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if bytes > self.most_bytes {
            return;
        }
        while self.bytes + bytes > self.most_bytes {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.kept.insert(key, Kept { value, bytes, used: self.clock });
    }

    fn remove(&mut self, key: &K) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut cache = Lru::new(10);
        cache.insert("a", 1, 4);
        cache.insert("b", 2, 4);
        assert_eq!(cache.get("a"), Some(1));
        cache.insert("c", 3, 4);
        assert_eq!([cache.get("a"), cache.get("b"), cache.get("c")], [Some(1), None, Some(3)]);
    }

    #[test]
    fn what_can_never_fit_pushes_nothing_out() {
        let mut cache = Lru::new(10);
        cache.insert("a", 1, 4);
        cache.insert("huge", 2, 11);
        assert_eq!([cache.get("a"), cache.get("huge")], [Some(1), None]);
    }

    #[test]
    fn a_replaced_value_gives_its_room_back() {
        let mut cache = Lru::new(10);
        for value in 0..5 {
            cache.insert("a", value, 6);
        }
        cache.insert("b", 7, 4);
        assert_eq!([cache.get("a"), cache.get("b")], [Some(4), Some(7)]);
    }
}
