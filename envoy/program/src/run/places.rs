//! Who may stay when all places for connections are taken: the newest, and who has few of them.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use tokio::task::AbortHandle;

/// The connections of a small server, oldest first. There is always a place for a new one.
pub(super) struct Places {
    most: usize,
    taken: VecDeque<(IpAddr, AbortHandle)>,
}

impl Places {
    /// Places for so many connections at once.
    pub fn new(most: usize) -> Self {
        Self { most, taken: VecDeque::with_capacity(most) }
    }

    /// Gives the task of a connection from `address` a place. If there is none left, the oldest connection of the address that
    /// has most of them is ended.
    pub fn give(&mut self, address: IpAddr, task: AbortHandle) {
        if self.taken.len() >= self.most {
            self.taken.retain(|(_, task)| !task.is_finished());
        }
        if self.taken.len() >= self.most
            && let Some((_, task)) = self.loser().and_then(|index| self.taken.remove(index))
        {
            task.abort();
        }
        self.taken.push_back((address, task));
    }

    fn loser(&self) -> Option<usize> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (address, _) in &self.taken {
            *counts.entry(*address).or_default() += 1;
        }
        let most = counts.values().max()?;
        self.taken.iter().position(|(address, _)| counts.get(address) == Some(most))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_oldest_of_who_has_most_goes() {
        let mut places = Places::new(3);
        let mut tasks = Vec::new();
        for last in [1, 2, 2, 2, 1, 3] {
            let task = tokio::spawn(pending::<()>());
            places.give(IpAddr::from([192, 0, 2, last]), task.abort_handle());
            tasks.push(task);
        }
        tokio::task::yield_now().await;
        let gone: Vec<_> = tasks.iter().map(tokio::task::JoinHandle::is_finished).collect();
        // 2's first made room for its third, its second for 1's second, and then 1 had most.
        assert_eq!(gone, [true, true, true, false, false, false]);
    }

    #[tokio::test]
    async fn who_is_gone_takes_no_place() {
        let mut places = Places::new(2);
        let address = IpAddr::from([192, 0, 2, 1]);
        let kept = tokio::spawn(pending::<()>());
        places.give(address, kept.abort_handle());
        for _ in 0..3 {
            let task = tokio::spawn(async {});
            places.give(address, task.abort_handle());
            task.await.unwrap();
        }
        tokio::task::yield_now().await;
        assert!(!kept.is_finished());
    }
}
