//! The rules, each a promise of the contract or what a promise needs.

use std::fmt;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What must hold of every history.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            pub const ALL: &'static [Rule] = &[$(Rule::$name),+];

            /// As it is printed.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$name => $text),+ }
            }

            pub fn says(self) -> &'static str {
                match self { $(Rule::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

rules! {
    /// An accepted message is in the history of its conversation.
    Kept = "kept",
    /// It is there once, and so is every answer: an id names one item.
    Once = "once",
    /// After the end nothing is `queued` or `processing`.
    Ends = "ends",
    /// A message has one end and one answer, whoever tells it and however often.
    OneEnd = "one-end",
    /// The answer to a message is the one to its text: `done` has it whole, `failed` has none.
    Answer = "answer",
    /// Answers within a conversation come in the order of its messages.
    AnswerOrder = "answer-order",
    /// A message that was accepted before another was sent comes before it.
    MessageOrder = "message-order",
    /// Who stays connected is told the end of what was accepted on this connection.
    Told = "told",
    /// Without faults, ends are told in the order of messages.
    ToldInOrder = "told-in-order",
    /// Per connection and message `seq` counts without gaps; `restart` begins anew.
    DeltaGap = "delta-gap",
    /// A delta that is sent again is the same.
    DeltaSame = "delta-same",
    /// No delta follows the end of its message on the same connection.
    DeltaAfterEnd = "delta-after-end",
    /// The deltas together are the beginning of the text that they announce.
    DeltaText = "delta-text",
    /// Without faults, a client that reads is told the whole text in deltas.
    DeltaWhole = "delta-whole",
    /// Nobody is told anything of another user's messages.
    Own = "own",
    /// Nothing is there that nobody has sent.
    Sent = "sent",
    /// An id that was accepted is a duplicate from then on, and only then.
    Duplicate = "duplicate",
    /// Other content under a used id is not accepted.
    SameContent = "same-content",
    /// What was refused is not stored.
    Refused = "refused",
    /// A message follows what it names, or else the item before it; an answer follows its message.
    Parent = "parent",
    /// Who has lost the place to another connection of the same user is not heard any more.
    Fenced = "fenced",
    /// No more than `MaxClients` hold a place.
    Places = "places",
    /// A user holds one place, and a place is one slot.
    OnePlace = "one-place",
    /// No more than `MaxConcurrentMessages` are in processing.
    Processing = "processing",
    /// Every object under `media/` is of a message, or noted for the janitor.
    StrayMedia = "stray-media",
    /// Every object that a message names is there.
    MissingMedia = "missing-media",
    /// A conversation is there until its deletion is asked for, and gone when that was answered.
    Deletion = "deletion",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
