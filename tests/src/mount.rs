//! Files as the kubelet mounts them: swapped all at once by the `..data` link.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

/// A mounted volume.
#[derive(Debug)]
pub struct Mount {
    folder: PathBuf,
    files: Vec<(String, Vec<u8>)>,
    /// The group that files belong to, and their mode.
    access: Option<(u32, u32)>,
    generation: u32,
}

impl Mount {
    /// An empty one, with files of whoever makes it.
    ///
    /// # Panics
    /// If there is a folder of that name, or none can be made.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir(folder).expect("a new folder");
        Self { folder: folder.to_owned(), files: Vec::new(), access: None, generation: 0 }
    }

    /// Files are of root, a group (`fsGroup`) and a mode (`defaultMode`), as in a pod. Needs root.
    #[must_use]
    pub fn with_access(self, group: u32, mode: u32) -> Self {
        Self { access: Some((group, mode)), ..self }
    }

    /// Changes or adds some files; the others stay as they are.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn swap(&mut self, files: &[(&str, &[u8])]) {
        for (name, content) in files {
            self.files.retain(|(known, _)| known != name);
            self.files.push(((*name).to_owned(), content.to_vec()));
        }
        self.generation += 1;
        let new = format!("..{}", self.generation);
        fs::create_dir(self.folder.join(&new)).expect("a new folder");
        for (name, content) in &self.files {
            let file = self.folder.join(&new).join(name);
            fs::write(&file, content).expect("a file");
            if let Some((group, mode)) = self.access {
                chown(&file, Some(0), Some(group)).expect("root may give files away");
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            }
            let link = self.folder.join(name);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(name), link).expect("a link");
            }
        }
        let link = self.folder.join("..data_tmp");
        symlink(&new, &link).expect("a link");
        fs::rename(link, self.folder.join("..data")).expect("the new files");
        // Whoever still reads the old files has them open.
        let _ = fs::remove_dir_all(self.folder.join(format!("..{}", self.generation - 1)));
    }
}
