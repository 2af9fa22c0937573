//! The query of a handshake: the session of the client, and whether it takes over.

use crate::ids::SessionId;
use crate::{Error, Result};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The client instance. It may take its own place back.
    pub session: Option<SessionId>,
    /// The client may take the place of another session of its user too.
    pub takeover: bool,
    /// The user's name in the token. It is shown and has no other use.
    pub username: Option<String>,
}

impl Handshake {
    /// Reads the query's `session` and `takeover`.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if one of them is malformed.
    pub fn parse(session: Option<&str>, takeover: Option<&str>) -> Result<Self> {
        let takeover = match takeover {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Error::bad_request("takeover must be true or false")),
        };
        Ok(Self { session: session.map(SessionId::parse).transpose()?, takeover, username: None })
    }

    /// The handshake of one session.
    #[cfg(test)]
    pub(crate) fn of(session: &str) -> Self {
        Self { session: Some(crate::testing::session(session)), ..Self::default() }
    }

    /// The handshake of one session that takes the place of any other.
    #[cfg(test)]
    pub(crate) fn taking_over(session: &str) -> Self {
        Self { takeover: true, ..Self::of(session) }
    }

    /// Whether this client may take the place that this session has.
    pub(super) fn may_replace(&self, session: Option<&SessionId>) -> bool {
        self.takeover || (session.is_some() && session == self.session.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_takeover_is_asked_for_in_one_way() {
        assert_eq!(Handshake::parse(None, None).ok(), Some(Handshake::default()));
        assert_eq!(Handshake::parse(Some("a"), Some("false")).ok(), Some(Handshake::of("a")));
        assert_eq!(Handshake::parse(Some("a"), Some("true")).ok(), Some(Handshake::taking_over("a")));
        for (session, takeover) in
            [(Some("a"), "True"), (Some("a"), "1"), (Some("a"), ""), (None, "yes"), (Some("a b"), "true")]
        {
            let refused = Handshake::parse(session, Some(takeover));
            assert!(matches!(refused, Err(Error::BadRequest(_))), "{session:?} {takeover}: {refused:?}");
        }
    }

    #[test]
    fn two_clients_that_name_no_session_have_none_in_common() {
        assert!(!Handshake::default().may_replace(None));
        assert!(!Handshake::of("a").may_replace(None));
        assert!(!Handshake::of("a").may_replace(Handshake::of("b").session.as_ref()));
        assert!(Handshake::of("a").may_replace(Handshake::of("a").session.as_ref()));
        assert!(Handshake::taking_over("a").may_replace(None));
    }
}
