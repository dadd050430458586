//! Sorting as `sort.SliceStable` does it, by places. Source: Go 1.26, `sort/slice.go`.
//!
//! The standard library's sorting is compiled once more for each type that is sorted, some 5 KB of WebAssembly each. This one exists once.

use std::cmp::Ordering;

/// The places from 0 to `length` in the order of what lies there; what is equal stays as it was.
#[must_use]
#[inline(never)]
pub fn stable(length: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_equal_stays_in_its_order() {
        let of =
            |words: &[&str]| stable(words.len(), &mut |a, b| words[a].len().cmp(&words[b].len()));
        assert_eq!(of(&["ccc", "a", "bb", "b", "aaa", ""]), [5, 1, 3, 2, 0, 4]);
        assert!(of(&[]).is_empty());
        let many: Vec<_> = (0..1000).map(|n| ["aa", "b"][n % 2]).collect();
        let want: Vec<_> = (1..1000).step_by(2).chain((0..1000).step_by(2)).collect();
        assert_eq!(of(&many), want);
    }
}
