//! Keys and certificates, judged by what is inside them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::text;

text! {
    /// A public SSH key, as in `authorized_keys` and `known_hosts`.
    SshPublicKey(String), "a public SSH key", "^(ssh|ecdsa|sk)-[^ ]+ [A-Za-z0-9+/]+=*( .*)?$", ssh_public_key;
    /// A private SSH key without a passphrase.
    SshPrivateKey(String), "a private SSH key", "", ssh_private_key;
    /// A private WireGuard key.
    WireGuardKey(String), "a private WireGuard key", "^[A-Za-z0-9+/]{43}=$", wireguard_key;
    /// A certificate in PEM.
    Certificate(String), "a certificate", "", certificate;
}

/// The kinds of keys that OpenSSH still takes.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

fn ssh_public_key(text: &str) -> Result<String, String> {
    if text.contains("PRIVATE KEY") {
        return Err("this is a private key, which must never leave your computer; give the one from the file \
             that ends with .pub"
            .to_owned());
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err("it must be one line, as in the file that ends with .pub".to_owned());
    }
    let mut words = text.splitn(3, ' ');
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if kind == "ssh-dss" {
        return Err("keys of the kind ssh-dss are no longer accepted; make one by `ssh-keygen -t ed25519`".to_owned());
    }
    if !KINDS.contains(&kind) {
        return Err("it must begin with its kind, such as ssh-ed25519, as in the file that ends with .pub".to_owned());
    }
    let Ok(bytes) = STANDARD.decode(blob) else {
        return Err("the part behind the kind is damaged; copy the whole line".to_owned());
    };
    let mut fields = Fields(&bytes);
    if fields.next() != Some(kind.as_bytes()) {
        return Err("the part behind the kind is damaged; copy the whole line".to_owned());
    }
    let parts: Vec<&[u8]> = fields.by_ref().collect();
    if parts.is_empty() || !fields.0.is_empty() {
        return Err("it is cut off; copy the whole line".to_owned());
    }
    // The last part of an RSA key is its modulus, led by a zero byte. OpenSSH refuses less than 1024 bits.
    if kind == "ssh-rsa" && parts.last().is_some_and(|modulus| modulus.len() < 256) {
        return Err("it has fewer than 2048 bits; make one by `ssh-keygen -t ed25519`".to_owned());
    }
    Ok(text.to_owned())
}

/// The parts of a key, each led by its length.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(part)
    }
}

fn ssh_private_key(text: &str) -> Result<String, String> {
    const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
    const END: &str = "-----END OPENSSH PRIVATE KEY-----";
    let inside = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let Some(inside) = inside else {
        return Err(format!("it must begin with {BEGIN} and end with {END}"));
    };
    let Ok(bytes) = STANDARD.decode(inside.split_whitespace().collect::<String>()) else {
        return Err("what is between its first and last line is damaged".to_owned());
    };
    let Some(rest) = bytes.strip_prefix(b"openssh-key-v1\0") else {
        return Err("what is between its first and last line is damaged".to_owned());
    };
    if Fields(rest).next() != Some(b"none") {
        return Err("it needs a passphrase, and nobody is there to type it; make one without".to_owned());
    }
    Ok(format!("{}\n", text.trim()))
}

fn wireguard_key(text: &str) -> Result<String, String> {
    match STANDARD.decode(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(text.to_owned()),
        _ => Err("it must be the 44 characters behind PrivateKey in your provider's WireGuard file".to_owned()),
    }
}

fn certificate(text: &str) -> Result<String, String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if text.contains("PRIVATE KEY") {
        return Err("it holds a private key; only the certificate belongs here".to_owned());
    }
    let inside = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let Some(inside) = inside else {
        return Err(format!("it must begin with {BEGIN} and end with {END}"));
    };
    match STANDARD.decode(inside.split_whitespace().collect::<String>()) {
        // A DER sequence, which every certificate is.
        Ok(bytes) if bytes.first() == Some(&0x30) => Ok(format!("{}\n", text.trim())),
        _ => Err("what is between its first and last line is damaged".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh ada@laptop";

    #[test]
    fn public_keys_are_looked_into() {
        assert!(ssh_public_key(ED25519).is_ok());
        let bad = [
            "ssh-ed25519",
            "AAAAC3NzaC1lZDI1NTE5AAAAIIx5TQkDm9S22/wQzthE1Whm25gbZlZvHUh/JHmrBfyh",
            "ssh-dss AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ];
        for bad in bad.into_iter().map(str::to_owned).chain([
            ED25519.replace("ssh-ed25519 ", "ssh-rsa "),
            ED25519.replace("fyh ada", "fy ada"),
            ED25519.replace("Hmr", "H\nmr"),
            format!("ssh-ed25519 {}", STANDARD.encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20short")),
            format!("ssh-rsa {}", STANDARD.encode(b"\0\0\0\x07ssh-rsa\0\0\0\x01\x03\0\0\0\x01\x05")),
        ]) {
            assert!(ssh_public_key(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_private_key_must_open_without_a_person() {
        let key = |cipher: &[u8]| {
            let mut bytes = b"openssh-key-v1\0".to_vec();
            bytes.extend(u32::try_from(cipher.len()).unwrap().to_be_bytes());
            bytes.extend(cipher);
            let inside = STANDARD.encode(bytes);
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{inside}\n-----END OPENSSH PRIVATE KEY-----\n")
        };
        assert!(ssh_private_key(&key(b"none")).is_ok());
        assert!(ssh_private_key(&key(b"aes256-ctr")).unwrap_err().contains("passphrase"));
        assert!(ssh_private_key("x").is_err());
    }

    #[test]
    fn wireguard_keys_have_32_bytes() {
        assert!(wireguard_key(&STANDARD.encode([7; 32])).is_ok());
        assert!(wireguard_key(&STANDARD.encode([7; 31])).is_err() && wireguard_key("x").is_err());
    }
}
