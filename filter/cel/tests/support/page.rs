//! docs/conformance.md: each run holds its own table on the page to what it saw.
#![allow(clippy::disallowed_methods, reason = "a test writes its own page")]

const PAGE: &str = include_str!("../../../../docs/conformance.md");

/// Checks that the section called `name` says `text`. With `CONFORMANCE=write` it is made to.
#[track_caller]
pub fn check(name: &str, text: &str) {
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let section = |page: &str| {
        let from = page.find(&start).map(|at| at + start.len());
        let to = page.find(&end);
        from.zip(to).unwrap_or_else(|| panic!("docs/conformance.md has no section {name}"))
    };
    let (from, to) = section(PAGE);
    if &PAGE[from..to] == text {
        return;
    }
    if std::env::var("CONFORMANCE").as_deref() == Ok("write") {
        // Tests of one program write one after the other.
        static WRITER: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _writer = WRITER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = root.ancestors().map(|folder| folder.join("docs/conformance.md"));
        let path = pages.into_iter().find(|path| path.is_file()).expect("the page is in the tree");
        let path = path.as_path();
        let page = std::fs::read_to_string(path).expect("the page");
        let (from, to) = section(&page);
        let page = format!("{}{text}{}", &page[..from], &page[to..]);
        std::fs::write(path, page).expect("the page is written");
        return;
    }
    panic!(
        "docs/conformance.md, section {name}, says\n{}and the run saw\n{text}(CONFORMANCE=write)",
        &PAGE[from..to]
    );
}

/// A table: what, and how many in each column. Rows of zeros are left out.
pub fn table<'a, const N: usize>(
    title: &str,
    columns: [&str; N],
    rows: impl IntoIterator<Item = (&'a str, [usize; N])>,
) -> String {
    let rows = rows.into_iter().filter(|(_, counts)| counts.iter().any(|count| *count > 0));
    let rows: Vec<String> = rows
        .map(|(what, counts)| {
            format!("| {what} | {} |\n", counts.map(|n| n.to_string()).join(" | "))
        })
        .collect();
    let columns = columns.join(" | ");
    format!("| {title} | {columns} |\n|---|{}\n{}", "---:|".repeat(N), rows.concat())
}
