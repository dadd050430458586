//! The pages of one answer, for who asks without a worker: read and bounded as a worker does.

use super::answer::{self, Progress};
use crate::{
    callout::{self, CalloutResult, Fault, Purpose},
    groups::{Question, Source},
};

/// How far the pages of an answer are read.
pub struct Pages<'a> {
    source: &'a Source,
    question: &'a Question,
    progress: Progress,
}

impl<'a> Pages<'a> {
    /// None is read yet.
    #[must_use]
    pub fn new(source: &'a Source, question: &'a Question) -> Self {
        let progress = Progress { paths: vec![question.path.clone()], ..Progress::default() };
        Self { source, question, progress }
    }

    /// `:path` of the page that is to be asked for, unless all are read.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.progress.paths.last().map(String::as_str)
    }

    /// Takes the answer for that page. Gives its groups, also those that do not count.
    ///
    /// # Errors
    /// If it is not what was asked for, or one page too many.
    pub fn take(&mut self, result: CalloutResult<'_>) -> Result<Vec<String>, Fault> {
        let headers = result.as_ref().map(|response| response.headers).unwrap_or_default();
        let most = Purpose::GroupSource(0).most_bytes();
        let body = callout::body(result, &[200], most, "what is read of a page")?;
        let page = answer::read(self.source, self.question, &body, headers, |_| true)?;
        let progress = std::mem::take(&mut self.progress);
        self.progress = progress.with(page.groups.clone(), page.next, self.source)?;
        Ok(page.groups)
    }

    /// The groups that count.
    #[must_use]
    pub fn groups(mut self) -> Vec<String> {
        self.progress.groups.sort_unstable();
        self.progress.groups.dedup();
        self.progress.groups
    }
}
