//! A document in a file, read once a second as all files of the program are.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use gateway_client::Source;

use super::{Holder, Kind, take};

/// How often it is read. The filter asks as often: together they stay below two seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Follows it until the program ends.
pub(super) fn follow(kind: Kind, path: PathBuf, holder: Arc<Holder>) {
    let source = Source::File(path);
    let mut known: Option<(Vec<u8>, bool)> = None;
    let mut look = move |holder: &Holder| match (source.read(), &known) {
        (Ok(text), Some((same, is_good))) if text == *same => {
            // What could not be meant cannot be meant now either.
            if *is_good {
                holder.confirm(kind);
            }
        }
        (Ok(text), _) => {
            let is_good = take(kind, holder, &text);
            known = Some((text, is_good));
        }
        (Err(reason), _) => holder.refuse(kind, &reason),
    };
    // Once before anybody asks.
    look(&holder);
    thread::spawn(move || {
        loop {
            thread::sleep(INTERVAL);
            look(&holder);
        }
    });
}
