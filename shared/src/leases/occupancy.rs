//! How full it is: what a browser, which can't see why a handshake was refused, asks for.

use super::Leases;
use crate::Result;
use crate::clock::Timestamp;
use crate::ids::UserId;

/// What a user who wants to connect would meet now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    pub state: Admittance,
    pub in_use: u32,
    pub capacity: u32,
    /// When a place, or this user's own, ends at the latest if nobody is heard of before; nothing when there is one now.
    pub free_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admittance {
    Open,
    Full,
    /// This user holds a place.
    Connected,
}

impl Leases {
    /// Reads every slot, a hundred at a time.
    pub async fn occupancy(&self, user: &UserId) -> Result<Occupancy> {
        let (own, slots) = tokio::try_join!(self.find(user), self.ends(0..self.config.max_clients))?;
        let now = self.clock.now();
        let own = own.map(|lease| lease.expires_at).filter(|end| *end > now);
        let capacity = self.config.max_clients;
        let in_use = u32::try_from(slots.len()).unwrap_or(capacity);
        let (state, free_at) = match own {
            Some(end) => (Admittance::Connected, Some(end)),
            None if in_use >= capacity => (Admittance::Full, slots.into_iter().map(|(_, end)| end).min()),
            None => (Admittance::Open, None),
        };
        Ok(Occupancy { state, in_use, capacity, free_at })
    }
}
