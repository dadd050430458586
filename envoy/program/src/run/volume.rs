//! The program's own copies of certificates and tokens, laid out and replaced as kubelet does it.
//!
//! Envoy reads these, never the files that users or kubelet write: so a file can be looked at before it counts, and files that
//! belong together change together. A volume is a folder in which `..data` links to the folder of one generation; the files
//! in it are links through `..data`. A change writes a new folder and renames a new link into place, which is one event for
//! Envoy and leaves no moment with a mixture.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use gateway_files::{self as files, gone};

const DATA: &str = "..data";

/// A folder of files that change together.
#[derive(Debug)]
pub struct Volume {
    folder: PathBuf,
    generation: u64,
}

impl Volume {
    /// An empty volume. What an earlier run left there is removed.
    pub fn new(folder: &Path) -> io::Result<Self> {
        gone(fs::remove_dir_all(folder))?;
        files::folder(folder)?;
        Ok(Self { folder: folder.to_owned(), generation: 0 })
    }

    /// One that is there, with what is in it.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        let data = fs::read_link(folder.join(DATA)).unwrap_or_default();
        let name = data.to_str().unwrap_or_default().trim_start_matches('.');
        Self { folder: folder.to_owned(), generation: name.parse().unwrap_or_default() }
    }

    /// Where a file of it is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Replaces all files, which must be the same ones each time.
    ///
    /// # Errors
    /// If something cannot be written; then the old files are still in place.
    pub fn replace(&mut self, files: &[(&str, &[u8])]) -> io::Result<()> {
        let old = self.folder.join(format!("..{}", self.generation));
        let name = format!("..{}", self.generation + 1);
        let new = self.folder.join(&name);
        let link = self.folder.join("..data_new");
        // What a replacement that failed halfway has left.
        gone(fs::remove_dir_all(&new))?;
        gone(fs::remove_file(&link))?;
        files::folder(&new)?;
        for (file, content) in files {
            files::create(&new.join(file), content)?;
            match symlink(Path::new(DATA).join(file), self.folder.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        symlink(&name, &link)?;
        fs::rename(&link, self.folder.join(DATA))?;
        self.generation += 1;
        gone(fs::remove_dir_all(old))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A full disk is one day no longer full: what it cut short must not stand in the way of what comes next.
    #[test]
    fn a_replacement_that_failed_halfway_does_not_hinder_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut volume = Volume::new(&folder.path().join("v")).unwrap();
        volume.replace(&[("token", b"one")]).unwrap();
        for _ in 0..2 {
            assert!(volume.replace(&[("token", b"two"), ("no/such", b"folder")]).is_err());
            assert_eq!(fs::read(volume.path("token")).unwrap(), b"one");
        }
        // It had come as far as the new link.
        symlink("..2", volume.path("..data_new")).unwrap();
        volume.replace(&[("token", b"three")]).unwrap();
        assert_eq!(fs::read(volume.path("token")).unwrap(), b"three");
    }

    #[test]
    fn files_change_together_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("volume");
        let mut volume = Volume::new(&root).unwrap();
        for round in 1..4 {
            let text = format!("round {round}");
            volume.replace(&[("tls.crt", text.as_bytes()), ("tls.key", b"key")]).unwrap();
            assert_eq!(fs::read_to_string(volume.path("tls.crt")).unwrap(), text);
            assert_eq!(fs::read_to_string(volume.path("tls.key")).unwrap(), "key");
        }
        let mut names: Vec<_> = fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["..3", "..data", "tls.crt", "tls.key"]);
        let mode = fs::metadata(volume.path("tls.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_that_is_there_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("volume");
        Volume::new(&root).unwrap().replace(&[("token", b"")]).unwrap();
        for text in ["one", "two"] {
            Volume::open(&root).replace(&[("token", text.as_bytes())]).unwrap();
            assert_eq!(fs::read_to_string(root.join("token")).unwrap(), text);
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 3, "one generation, its link, the file");
    }

    #[test]
    fn an_earlier_run_s_files_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("volume");
        let mut volume = Volume::new(&root).unwrap();
        volume.replace(&[("token", b"old")]).unwrap();
        let mut volume = Volume::new(&root).unwrap();
        assert!(!volume.path("token").exists());
        volume.replace(&[("token", b"new")]).unwrap();
        assert_eq!(fs::read(volume.path("token")).unwrap(), b"new");
    }
}
