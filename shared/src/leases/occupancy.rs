//! Counts the places that are taken. A browser asks for the count, because it can't see why its handshake was refused.
//! Administrators ask which clients hold the places.

use std::collections::HashMap;

use super::{Lease, Leases, USER_KEY, user_key};
use crate::Result;
use crate::clock::Timestamp;
use crate::dynamo::Attributes;
use crate::ids::UserId;

/// The places that are in use now, and whether this user has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    pub state: Admittance,
    pub in_use: u32,
    pub capacity: u32,
    /// A place ends by this time, unless its holder sends something. If the user is connected, this is their own place.
    /// `None` if there is a free place now.
    pub free_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admittance {
    Open,
    Full,
    /// This user holds a place.
    Connected,
}

/// A client that holds a place.
#[derive(Debug, Clone)]
pub struct Holder {
    pub user: UserId,
    pub lease: Lease,
}

/// The attributes of a user item to read: all except the moments, which only other uses need.
const SHOWN: &str =
    "slot_no, connection_id, session_id, expires_at, username, connected_at, spoken, pending, untold, replaced";

impl Leases {
    /// The number of places.
    pub fn capacity(&self) -> u32 {
        self.config.max_clients
    }

    /// The clients that hold places, by slot. Reads every slot and then the users. A user who leaves in between is left
    /// out.
    pub async fn holders(&self) -> Result<Vec<Holder>> {
        let taken = self.taken(0..self.config.max_clients).await?;
        let slots: HashMap<String, u32> = taken.iter().map(|taken| (user_key(&taken.user), taken.slot)).collect();
        let items = self.read(slots.keys().cloned().collect(), SHOWN).await?;
        let now = self.clock.now();
        let mut holders = Vec::new();
        for item in &items {
            let lease = Lease::read(item)?;
            let key = Attributes(item).text("pk")?;
            if lease.expires_at > now {
                let user = UserId::parse(key.strip_prefix(USER_KEY).unwrap_or(key))?;
                holders.push(Holder { user, lease });
            }
        }
        holders.sort_by_key(|holder| holder.lease.slot);
        Ok(holders)
    }

    /// Reads every slot, a hundred at a time.
    pub async fn occupancy(&self, user: &UserId) -> Result<Occupancy> {
        let (own, slots) = tokio::try_join!(self.find(user), self.taken(0..self.config.max_clients))?;
        let now = self.clock.now();
        let own = own.map(|lease| lease.expires_at).filter(|end| *end > now);
        let capacity = self.config.max_clients;
        let in_use = u32::try_from(slots.len()).unwrap_or(capacity);
        let (state, free_at) = match own {
            Some(end) => (Admittance::Connected, Some(end)),
            None if in_use >= capacity => (Admittance::Full, slots.into_iter().map(|slot| slot.expires_at).min()),
            None => (Admittance::Open, None),
        };
        Ok(Occupancy { state, in_use, capacity, free_at })
    }
}
