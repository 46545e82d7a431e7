//! Which of two versions of a message this VPP serves: a source address of outer packets per policy, or one for all.

use std::net::Ipv6Addr;

use super::client::Client;
use super::error::VppError;
use super::message::{
    AddPolicy, AddPolicyV1, ControlPing, DeletePolicy, ModifyPolicy, ModifyPolicyV1, PoliciesDump,
    PoliciesV1Dump, PolicyDetails, PolicyDetailsV1, Reply, Request, Steer, SteeringDump,
};

/// The messages that are used with one VPP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Policies have a source address each.
    pub(super) sources: bool,
}

impl Dialect {
    /// Looks what there is, before anything is sent.
    ///
    /// # Errors
    /// A message that can't be done without is missing, or is another one.
    pub(super) fn of(client: &Client) -> Result<Self, VppError> {
        client.offers::<ControlPing>()?;
        client.offers::<DeletePolicy>()?;
        client.offers::<Steer>()?;
        client.offers::<SteeringDump>()?;
        let newer = client
            .offers::<AddPolicy>()
            .and_then(|()| client.offers::<ModifyPolicy>())
            .and_then(|()| client.offers::<PoliciesDump>());
        let sources = newer.is_ok();
        if let Err(error) = newer {
            let older = client
                .offers::<AddPolicyV1>()
                .and_then(|()| client.offers::<ModifyPolicyV1>())
                .and_then(|()| client.offers::<PoliciesV1Dump>());
            // Another definition of the newer one says more than the lack of the older.
            older.map_err(|older| if matches!(error, VppError::Changed { .. }) { error } else { older })?;
        }
        Ok(Self { sources })
    }

    /// Adds policies; VPP's return value for each.
    pub(super) fn add(self, client: &mut Client, policies: Vec<AddPolicy>) -> Result<Vec<i32>, VppError> {
        if self.sources {
            return retvals(client, &policies);
        }
        retvals(client, &policies.into_iter().map(AddPolicyV1).collect::<Vec<_>>())
    }

    /// Modifies policies; VPP's return value for each.
    pub(super) fn modify(
        self,
        client: &mut Client,
        changes: Vec<ModifyPolicy>,
    ) -> Result<Vec<i32>, VppError> {
        if self.sources {
            return retvals(client, &changes);
        }
        retvals(client, &changes.into_iter().map(ModifyPolicyV1).collect::<Vec<_>>())
    }

    /// All policies.
    pub(super) fn policies(self, client: &mut Client) -> Result<Vec<PolicyDetails>, VppError> {
        if self.sources {
            return client.dump(&PoliciesDump);
        }
        let list = client.dump(&PoliciesV1Dump)?;
        Ok(list.into_iter().map(|PolicyDetailsV1(details)| details).collect())
    }

    /// The source address that a policy has in this VPP's words.
    pub(super) fn source(self, wanted: Ipv6Addr) -> Ipv6Addr {
        if self.sources { wanted } else { Ipv6Addr::UNSPECIFIED }
    }

    /// The names of the requests, for messages.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        if self.sources {
            ("sr_policy_add_v2", "sr_policy_mod_v2")
        } else {
            ("sr_policy_add", "sr_policy_mod")
        }
    }
}

/// Return values of many requests, in their order.
pub(super) fn retvals<R: Request>(client: &mut Client, requests: &[R]) -> Result<Vec<i32>, VppError> {
    Ok(client.call_all(requests)?.iter().map(Reply::retval).collect())
}
