//! What is rendered, to the letter. `UPDATE_GOLDEN=1 cargo test` writes what is rendered now; read the difference.
//!
//! The first variant's files are all there, the others' only where they differ from the first's.

mod support;

use std::{collections::BTreeMap, env, fs, path::Path};

use gateway_config::{Inputs, render};

#[test]
fn rendered_files_are_the_golden_ones() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut first = BTreeMap::new();
    for (variant, inputs) in support::variants(Path::new("/gateway")) {
        let all = rendered(&inputs);
        let different: BTreeMap<_, _> =
            all.iter().filter(|(name, text)| first.get(*name) != Some(*text)).collect();
        let folder = golden.join(variant);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            update(&folder, &different);
        }
        let stored = stored(&folder);
        for (name, text) in &different {
            let want = stored.get(*name).unwrap_or_else(|| panic!("{variant}/{name} is new"));
            assert_same(&format!("{variant}/{name}"), want, text);
        }
        let superfluous: Vec<_> =
            stored.keys().filter(|name| !different.contains_key(name)).collect();
        assert!(superfluous.is_empty(), "{variant}: {superfluous:?} no longer differ");
        if first.is_empty() {
            first = all;
        }
    }
}

fn rendered(inputs: &Inputs) -> BTreeMap<String, String> {
    let rendered = render(inputs).unwrap();
    rendered.files().iter().map(|file| (file.name.clone(), file.text.clone())).collect()
}

fn stored(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| {
            (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}

fn update(folder: &Path, files: &BTreeMap<&String, &String>) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn assert_same(name: &str, want: &str, got: &str) {
    let differing = want.lines().zip(got.lines()).enumerate().find(|(_, (want, got))| want != got);
    if let Some((line, (want, got))) = differing {
        panic!("{name}, line {}:\n- {want}\n+ {got}", line + 1);
    }
    assert_eq!(want.lines().count(), got.lines().count(), "{name}: lines");
    assert_eq!(want, got, "{name}");
}
