//! Who asks: the identity of a mount or of a connection.

use super::Name;
use crate::error::{Error, ErrorKind, Result};

/// An identity, from configuration and never from a request. Without a tenant a store is single-tenant for it: no
/// tenant's files are hidden from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    tenant: Option<String>,
    agent: Option<String>,
    is_admin: bool,
}

impl Principal {
    /// Checks the parts.
    ///
    /// # Errors
    /// `Configuration` for a tenant or an agent that cannot be the name of a directory.
    pub fn new(tenant: Option<String>, agent: Option<String>, is_admin: bool) -> Result<Self> {
        for (what, value) in [("tenant", &tenant), ("agent", &agent)] {
            if let Some(value) = value {
                Name::new(value.as_bytes()).map_err(|e| {
                    let refused = format!("use {value:?} as {what}: it has to be a name of a directory");
                    Error::new(ErrorKind::Configuration, refused).because(e)
                })?;
            }
        }
        Ok(Self { tenant, agent, is_admin })
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The agent of the tenant.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Whether no path is closed to it because of a tenant or an agent.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_admin || (self.tenant.is_none() && self.agent.is_none())
    }

    /// Whether isolation between tenants and agents does not apply to it.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_the_name_of_a_directory() {
        assert!(Principal::new(Some("acme".into()), Some("agent1".into()), false).is_ok());
        for bad in ["", ".", "..", "a/b"] {
            let refused = Principal::new(Some(bad.into()), None, false).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Configuration, "{bad:?}");
        }
    }
}
