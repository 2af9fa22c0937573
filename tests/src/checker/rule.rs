//! The rules. Each is a promise of the contract, or something that a promise needs.

use std::fmt;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Each rule must hold in every history.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            pub const ALL: &'static [Rule] = &[$(Rule::$name),+];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$name => $text),+ }
            }

            /// Its sentence in reports.
            pub fn says(self) -> &'static str {
                match self { $(Rule::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

rules! {
    /// An accepted message is in the history of its conversation.
    Kept = "kept",
    /// A message is in history once, and so is each answer: no two items of a user have the same id.
    Once = "once",
    /// After the end, no message is `queued` or `processing`.
    Ends = "ends",
    /// A message has one end: whenever its end is told or read, it is the same end with the same answers.
    OneEnd = "one-end",
    /// An answer fits the text of its message: `done` has the whole answer, `cancelled` its beginning, `failed` none.
    Answer = "answer",
    /// In a conversation, answers are in the order of their messages.
    AnswerOrder = "answer-order",
    /// If a message was accepted before another one was sent, it comes before that one in history.
    MessageOrder = "message-order",
    /// A connection that keeps its place is told the end of each message that it was told `accepted` or a delta of.
    Told = "told",
    /// Without faults, ends are told in the order of the messages.
    ToldInOrder = "told-in-order",
    /// For each connection and message, `seq` counts without gaps, until a delta with `restart` sets it anew.
    DeltaGap = "delta-gap",
    /// A delta that is told again has the same text.
    DeltaSame = "delta-same",
    /// After the end of a message was told on a connection, no delta of the message follows there.
    DeltaAfterEnd = "delta-after-end",
    /// Each delta is the next piece of the message's answer.
    DeltaText = "delta-text",
    /// Without faults, a client that reads all the time is told the whole text in deltas.
    DeltaWhole = "delta-whole",
    /// No user is told or shown anything of another user's messages.
    Own = "own",
    /// Every message that is told or stored was sent by somebody.
    Sent = "sent",
    /// `accepted` says that an id is a duplicate if the id was accepted before, and only then.
    Duplicate = "duplicate",
    /// If an id is sent again with other content, that content is not accepted, told or stored.
    SameContent = "same-content",
    /// A message that was only ever refused is not stored.
    Refused = "refused",
    /// A message follows the parent that it names, or else the item before it. An answer follows its message.
    Parent = "parent",
    /// After a connection has lost its place to another connection of its user, its frames have no effect.
    Fenced = "fenced",
    /// At most `MaxClients` clients hold a place.
    Places = "places",
    /// A user holds one place at most, and each place has a slot.
    OnePlace = "one-place",
    /// At most `MaxConcurrentMessages` messages are in processing.
    Processing = "processing",
    /// Every object under `media/` belongs to a message, or is noted as about to be used.
    StrayMedia = "stray-media",
    /// Every object that a message names exists.
    MissingMedia = "missing-media",
    /// A conversation exists until its deletion is asked for. After the deletion was answered, it is gone.
    Deletion = "deletion",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
