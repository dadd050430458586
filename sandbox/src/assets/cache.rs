//! The cache folder: complete entries only, made by one process at a time.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    archive, fetch, gobuild, gofiles,
    progress::Progress,
    recipe::{Recipe, Source},
    workplace::Workplace,
};
use crate::error::{Context, Error, Result};

const TEMPORARY: &str = "build-";

/// The folder with a recipe's programs, which are built or fetched if nobody did so before.
pub(super) fn entry(recipe: &Recipe, progress: &Progress) -> Result<PathBuf> {
    entry_in(&root()?, recipe, progress, make)
}

pub(super) fn entry_in(
    root: &Path,
    recipe: &Recipe,
    progress: &Progress,
    make: impl FnOnce(&Recipe, &Workplace, &Progress) -> Result<()>,
) -> Result<PathBuf> {
    let entry = root.join(recipe.entry());
    if entry.exists() {
        return Ok(entry);
    }
    fs::create_dir_all(root).context(|| format!("make {}", root.display()))?;
    let _lock = lock(root, progress)?;
    if entry.exists() {
        return Ok(entry);
    }
    remove_abandoned(root);
    let start = Instant::now();
    let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(root);
    let temporary = temporary.context(|| format!("make a folder in {}", root.display()))?;
    let place = Workplace {
        folder: temporary.path().to_owned(),
        output: temporary.path().join("output"),
        log: root.join(format!("{}.log", recipe.entry())),
    };
    let _ = fs::remove_file(&place.log);
    fs::create_dir(&place.output).context(|| format!("make {}", place.output.display()))?;
    make(recipe, &place, progress)?;
    fs::rename(&place.output, &entry).context(|| format!("make {}", entry.display()))?;
    progress.line(&format!("{}: done in {} s", recipe.name, start.elapsed().as_secs()));
    Ok(entry)
}

pub(super) fn make(recipe: &Recipe, place: &Workplace, progress: &Progress) -> Result<()> {
    match &recipe.source {
        Source::Go { archive: Some(archive), .. }
            if archive::take(recipe, archive, place, progress)? =>
        {
            Ok(())
        }
        Source::Go { .. } => gobuild::build(recipe, place, progress),
        Source::GoFiles { module, files } => gofiles::copy(recipe, module, files, place, progress),
        Source::Wheel { requirements } => fetch::wheel(recipe, *requirements, place, progress),
    }
}

fn root() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.map(|cache| cache.join("kube-oidc-gateway")).ok_or_else(|| {
        Error::Invalid("no cache folder: neither XDG_CACHE_HOME nor HOME is set".to_owned())
    })
}

fn lock(root: &Path, progress: &Progress) -> Result<File> {
    let path = root.join("lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress.line("waiting for another run that builds the same");
        }
        Err(TryLockError::Error(_)) => {}
    }
    file.lock().context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Whoever holds the lock is alone, so what others left half done is nobody's.
fn remove_abandoned(root: &Path) {
    for item in fs::read_dir(root).into_iter().flatten().flatten() {
        if item.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _ = fs::remove_dir_all(item.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;
    use crate::assets::recipe::Pin;

    fn recipe() -> Recipe {
        Recipe {
            name: "thing",
            pin: Pin { version: "1".to_owned(), accepts: Vec::new() },
            programs: vec![],
            source: Source::Wheel { requirements: ("r", "r") },
        }
    }

    #[test]
    fn an_entry_is_made_once_however_many_want_it() {
        let root = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let entry =
                        entry_in(root.path(), &recipe(), &Progress::quiet(), |_, place, _| {
                            made.fetch_add(1, Ordering::Relaxed);
                            fs::write(place.output.join("program"), "x").unwrap();
                            Ok(())
                        });
                    assert!(entry.unwrap().join("program").exists());
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_failed_or_abandoned_build_leaves_no_entry() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("build-abandoned")).unwrap();
        let failed = entry_in(root.path(), &recipe(), &Progress::quiet(), |_, place, _| {
            fs::write(place.output.join("program"), "half").unwrap();
            Err(Error::Invalid("no".to_owned()))
        });
        assert!(failed.is_err());
        let left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|i| i.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
}
