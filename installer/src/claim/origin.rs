//! Where somebody at the door comes from, as far as that is known.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address; `None` if nobody told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(pub Option<IpAddr>);

impl Origin {
    /// The address that `text` begins with: sshd puts ports behind it, and a link-local one
    /// comes with its card (`fe80::1%eth0`).
    pub fn read(text: &str) -> Self {
        Self(text.split([' ', '%']).next().and_then(|word| word.parse().ok()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("an unknown address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_as_sshd_and_pam_write_them() {
        assert_eq!(Origin::read("192.168.1.5 50222 192.168.1.23 22").to_string(), "192.168.1.5");
        assert_eq!(Origin::read("fe80::1%enp1s0 50222").to_string(), "fe80::1");
        for nothing in ["", "UNKNOWN", "a.example 1"] {
            assert_eq!(Origin::read(nothing), Origin(None));
        }
        assert_eq!(Origin(None).to_string(), "an unknown address");
    }
}
