//! Encryption of the file store, in the age format: what this program writes, `age -d` reads.

use std::{
    fs,
    io::{self, Read as _, Write as _},
};

use age::{Decryptor, Encryptor, Identity, IdentityFile, Recipient, scrypt, secrecy::SecretString};

use crate::settings::Encryption;

/// scrypt's work factor (log2 N): about a tenth of a second, since kubectl waits for it at every command. The key file
/// costs nothing.
const WORK_FACTOR: u8 = if cfg!(test) { 2 } else { 15 };
/// A file that demands more than this was not written here and would hang kubectl.
const MOST_WORK: u8 = 18;

/// Why a file cannot be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum CryptError {
    /// The key file.
    #[error(
        "the key file {path} cannot be used: {reason}; --token-store-key-file wants what age-keygen writes"
    )]
    KeyFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Encryption failed.
    #[error(
        "it cannot be encrypted ({0}); --token-store-key-file and $KUBECTL_OIDC_TOKEN_STORE_PASSPHRASE say with what"
    )]
    Encrypt(String),
    /// Wrong key or passphrase, or a damaged file.
    #[error(
        "it cannot be decrypted with this key or passphrase (--token-store-key-file, $KUBECTL_OIDC_TOKEN_STORE_PASSPHRASE)"
    )]
    Decrypt,
}

/// Encrypts `plain`.
pub fn encrypt(plain: &[u8], encryption: &Encryption) -> Result<Vec<u8>, CryptError> {
    let failed = |error: &dyn std::fmt::Display| CryptError::Encrypt(error.to_string());
    let encryptor = match encryption {
        Encryption::None => return Ok(plain.to_vec()),
        Encryption::Passphrase(passphrase) => {
            let recipient = recipient(passphrase);
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn Recipient))
        }
        Encryption::KeyFile(_) => {
            let recipients =
                identity_file(encryption)?.to_recipients().map_err(|error| failed(&error))?;
            Encryptor::with_recipients(recipients.iter().map(|r| &**r as &dyn Recipient))
        }
    };
    let mut output = Vec::new();
    let mut writer = encryptor
        .map_err(|error| failed(&error))?
        .wrap_output(&mut output)
        .map_err(|error| failed(&error))?;
    writer.write_all(plain).map_err(|error| failed(&error))?;
    writer.finish().map_err(|error| failed(&error))?;
    Ok(output)
}

/// Decrypts what [`encrypt`] made.
pub fn decrypt(cipher: &[u8], encryption: &Encryption) -> Result<Vec<u8>, CryptError> {
    let identities: Vec<Box<dyn Identity>> = match encryption {
        Encryption::None => return Ok(cipher.to_vec()),
        Encryption::Passphrase(passphrase) => {
            let mut identity = scrypt::Identity::new(passphrase.clone());
            identity.set_max_work_factor(MOST_WORK);
            vec![Box::new(identity)]
        }
        Encryption::KeyFile(path) => {
            let identities = identity_file(encryption)?.into_identities();
            let identities = identities.map_err(|_| CryptError::KeyFile {
                path: path.display().to_string(),
                reason: "it holds no identity".to_owned(),
            })?;
            identities.into_iter().map(|identity| identity as Box<dyn Identity>).collect()
        }
    };
    let decryptor = Decryptor::new(cipher).map_err(|_| CryptError::Decrypt)?;
    let mut plain = Vec::new();
    decryptor
        .decrypt(identities.iter().map(|identity| &**identity as &dyn Identity))
        .map_err(io::Error::other)
        .and_then(|mut reader| reader.read_to_end(&mut plain))
        .map_err(|_| CryptError::Decrypt)?;
    Ok(plain)
}

fn recipient(passphrase: &SecretString) -> scrypt::Recipient {
    let mut recipient = scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK_FACTOR);
    recipient
}

fn identity_file(encryption: &Encryption) -> Result<IdentityFile<age::NoCallbacks>, CryptError> {
    let Encryption::KeyFile(path) = encryption else {
        return Err(CryptError::Encrypt("there is no key file".to_owned()));
    };
    let unusable =
        |reason: String| CryptError::KeyFile { path: path.display().to_string(), reason };
    let text = fs::read(path).map_err(|error| unusable(crate::console::plain(&error)))?;
    let file = IdentityFile::from_buffer(text.as_slice())
        .map_err(|_| unusable("it is no identity file".to_owned()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_comes_back_with_the_same_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = |name: &str| {
            let path = folder.path().join(name);
            let key = age::x25519::Identity::generate();
            let text = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
            fs::write(&path, format!("# a comment, as age-keygen writes\n{text}\n")).unwrap();
            Encryption::KeyFile(path)
        };
        let passphrase = |text: &str| Encryption::Passphrase(text.to_owned().into());
        for (right, wrong) in
            [(key_file("a"), key_file("b")), (passphrase("right"), passphrase("wrong"))]
        {
            let cipher = encrypt(b"a secret", &right).unwrap();
            assert!(cipher.starts_with(b"age-encryption.org/v1\n"));
            assert_eq!(decrypt(&cipher, &right).unwrap(), b"a secret");
            assert!(matches!(decrypt(&cipher, &wrong), Err(CryptError::Decrypt)));
            assert!(matches!(decrypt(b"{}", &right), Err(CryptError::Decrypt)));
            let damaged = &cipher[..cipher.len() - 1];
            assert!(matches!(decrypt(damaged, &right), Err(CryptError::Decrypt)));
        }
    }

    #[test]
    fn a_key_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "not a key\n").unwrap();
        for path in [path, folder.path().join("absent")] {
            let error = encrypt(b"x", &Encryption::KeyFile(path.clone())).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
