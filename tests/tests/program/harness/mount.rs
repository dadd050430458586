//! Files as kubelet mounts them: swapped all at once by the `..data` link.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A mounted volume.
pub struct Mount {
    folder: PathBuf,
    files: Vec<(String, Vec<u8>)>,
    generation: u32,
}

impl Mount {
    /// An empty one.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        Self { folder: folder.to_owned(), files: Vec::new(), generation: 0 }
    }

    /// Changes or adds some files; the others stay as they are.
    pub fn swap(&mut self, files: &[(&str, &[u8])]) {
        for (name, content) in files {
            self.files.retain(|(known, _)| known != name);
            self.files.push(((*name).to_owned(), content.to_vec()));
        }
        self.generation += 1;
        let new = format!("..{}", self.generation);
        fs::create_dir(self.folder.join(&new)).unwrap();
        for (name, content) in &self.files {
            fs::write(self.folder.join(&new).join(name), content).unwrap();
            let link = self.folder.join(name);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        let link = self.folder.join("..data_tmp");
        symlink(&new, &link).unwrap();
        fs::rename(link, self.folder.join("..data")).unwrap();
        // Whoever still reads the old files has them open.
        let _ = fs::remove_dir_all(self.folder.join(format!("..{}", self.generation - 1)));
    }
}
