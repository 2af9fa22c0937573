//! Makes a case: reads from the tape what happens next. Nothing is executed here. This code reads the tape and names
//! new connections. The runner of the case executes the decision.
//!
//! Each choice is made among several with weights, and a weight says how often. Most decisions prefer an operation that
//! overlaps with those under way, because two operations that never meet show nothing.

use std::time::Duration;

use samovar_services::Answer;
use samovar_services::faults::{self, Fault, Heard};

use super::{Case, TALKS, USERS};
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, ConversationId, MessageId, UserId};
use crate::leases::Handshake;
use crate::leases::tests::model::operation::Operation;
use crate::testing::{MessageItem, connection, conversation, message_id, session, user};

/// Longer than an unanswered message is counted.
pub(super) const LONG: Duration = Duration::from_secs(301);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The next event of a case.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// Runs one operation from beginning to end, with nothing else under way.
    Alone,
    Start,
    Advance,
    PassTime,
}

/// The weights while nothing is under way, while something is, and while nothing more can begin.
const NEXT_WHEN_IDLE: &[(usize, Next)] = &[(40, Next::Alone), (48, Next::Start), (12, Next::PassTime)];
const NEXT_WHEN_BUSY: &[(usize, Next)] = &[(25, Next::Start), (63, Next::Advance), (12, Next::PassTime)];
const NEXT_WHEN_FULL: &[(usize, Next)] = &[(88, Next::Advance), (12, Next::PassTime)];

/// Percentage of steps before which a moment passes: operations that overlap mostly began at different times.
const MOMENT_BETWEEN: usize = 30;

#[derive(Debug, Clone, Copy)]
enum Act {
    Connect,
    Leave,
    Renew,
    Admit,
    Work,
}

const ACTS: &[(usize, Act)] = &[(6, Act::Connect), (2, Act::Leave), (3, Act::Renew), (6, Act::Admit), (3, Act::Work)];

/// Percentage of connects by a user for whom something is under way.
const CONNECT_BUSY_USER: usize = 50;
/// Percentage of connects that ask for a takeover.
const TAKEOVERS: usize = 25;
/// Percentage of leavings that are a close by an administrator.
const CLOSED_BY_ADMIN: usize = 30;
/// Percentage of chosen connections that belong to a user for whom something is under way.
const ACT_FOR_BUSY_USER: usize = 70;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// A connection that has a place.
    Holder,
    /// A connection that had one.
    Former,
    NeverWas,
}

const SPEAKERS: &[(usize, Speaker)] = &[(8, Speaker::Holder), (1, Speaker::Former), (1, Speaker::NeverWas)];

/// There are few ids, the same for all users, so they repeat, also in other conversations.
const MESSAGE_IDS: usize = 24;
/// Percentage of ids in capitals.
const IN_CAPITALS: usize = 10;

/// The user whose conversation gets the message. The user's own conversations share one weight, so each of them is
/// equally likely.
const ANYBODYS_CONVERSATION: usize = 2;
const OWN_CONVERSATION: usize = 9;
const NO_SUCH_CONVERSATION: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// The janitor's work.
    Forget,
    /// A worker's, on a message that waits.
    Answer,
    /// On any message: takes it off the count if it is answered, and otherwise answers it.
    Uncount,
    /// A worker's, on any message.
    AnswerAny,
}

const WORK: &[(usize, Work)] = &[(1, Work::Forget), (7, Work::Answer), (1, Work::Uncount), (1, Work::AnswerAny)];

/// Percentage of answers that fail for good.
const FAILED_ANSWERS: usize = 20;

/// How much time passes.
#[derive(Debug, Clone, Copy)]
enum Time {
    Moment,
    Seconds,
    /// Until the end of some lease, or one second if there is none.
    UntilAnEnd,
    UntilBeforeAnEnd,
    UntilAfterAnEnd,
    ALease,
    AFirstMessage,
    Long,
    Second,
}

const TIMES: &[(usize, Time)] = &[
    (6, Time::Moment),
    (7, Time::Seconds),
    (2, Time::UntilAnEnd),
    (4, Time::UntilBeforeAnEnd),
    (1, Time::UntilAfterAnEnd),
    (1, Time::ALease),
    (1, Time::AFirstMessage),
    (1, Time::Long),
    (1, Time::Second),
];

/// The kinds of trouble, for a call that gets some.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Contention,
    ErrorNotExecuted,
    ErrorExecuted,
    BreakNotExecuted,
    BreakExecuted,
    DeathAfter,
    DeathBefore,
    /// Rare, because giving up takes a second or two of real time.
    ContentionForGood,
}

const TROUBLES: &[(usize, Trouble)] = &[
    (17, Trouble::Contention),
    (6, Trouble::ErrorNotExecuted),
    (6, Trouble::ErrorExecuted),
    (6, Trouble::BreakNotExecuted),
    (6, Trouble::BreakExecuted),
    (9, Trouble::DeathAfter),
    (9, Trouble::DeathBefore),
    (1, Trouble::ContentionForGood),
];

/// Percentage of cancelled transactions that name a failed condition beside the contention.
const CONDITION_BESIDE_CONTENTION: usize = 20;

/// The fate of a held call.
#[derive(Debug)]
pub(super) struct Fate {
    /// `None`: its caller dies before it.
    pub(super) fault: Option<Fault>,
    /// From now on, all writes of its operation meet other writes.
    pub(super) contended_for_good: bool,
}

impl Fate {
    fn is(fault: Fault) -> Self {
        Self { fault: Some(fault), contended_for_good: false }
    }
}

impl Case {
    pub(super) fn any_next(&mut self, is_idle: bool, is_full: bool) -> Next {
        let choices = match (is_idle, is_full) {
            (true, _) => NEXT_WHEN_IDLE,
            (false, false) => NEXT_WHEN_BUSY,
            (false, true) => NEXT_WHEN_FULL,
        };
        *self.tape.weighed(choices)
    }

    /// The time that passes before the next step, if any.
    pub(super) fn any_moment_between(&mut self) -> Option<Duration> {
        self.tape.percent(MOMENT_BETWEEN).then_some(MILLISECOND)
    }

    pub(super) fn any_operation(&mut self) -> Operation {
        match self.tape.weighed(ACTS) {
            Act::Connect => {
                let busy = self.busy_users().next().and_then(|user| user.strip_prefix('u')?.parse().ok());
                let number = match busy {
                    Some(number) if self.tape.percent(CONNECT_BUSY_USER) => number,
                    _ => self.tape.below(USERS),
                };
                let session = *self.tape.one_of(&[Some("a"), None, Some("a"), Some("b")]);
                let takeover = self.tape.percent(TAKEOVERS);
                self.connect(number, session, takeover)
            }
            Act::Leave => {
                let (user, connection) = self.any_connection();
                if self.tape.percent(CLOSED_BY_ADMIN) {
                    Operation::Close { user }
                } else {
                    Operation::Release { user, connection }
                }
            }
            Act::Renew => {
                let (user, connection) = self.any_connection();
                Operation::Renew { user, connection }
            }
            Act::Admit => {
                let (user, connection) = self.any_connection();
                let (id, conversation) = (self.any_message_id(), self.any_conversation(&user));
                Operation::Admit { user, connection, id, conversation }
            }
            Act::Work => self.any_work(),
        }
    }

    /// A connection with a name of its own, of the user with this number.
    pub(super) fn connect(&mut self, number: usize, session_name: Option<&str>, takeover: bool) -> Operation {
        let name = format!("c{}", self.connections.len());
        self.connections.push((number, name.clone()));
        let handshake = Handshake { session: session_name.map(session), takeover, username: None };
        Operation::Connect { user: user(format!("u{number}")), connection: connection(name), handshake }
    }

    /// Users for whom something is under way.
    fn busy_users(&self) -> impl Iterator<Item = &str> {
        self.running.iter().flatten().map(|running| running.operation.user().as_str())
    }

    fn any_connection(&mut self) -> (UserId, ConnectionId) {
        let now = self.now();
        let items = self.state.users.iter();
        let (held, ended): (Vec<_>, Vec<_>) = items.partition(|(_, item)| item.expires_at > now);
        let speaker = *self.tape.weighed(SPEAKERS);
        let holders = if speaker == Speaker::Holder { held } else { ended };
        if speaker != Speaker::NeverWas && !holders.is_empty() {
            let busy = self.running.iter().flatten().map(|running| running.operation.user().as_str());
            let busy: Vec<_> = busy.filter_map(|user| holders.iter().find(|(name, _)| *name == user)).collect();
            let (name, item) = match busy.as_slice() {
                [] => self.tape.one_of(&holders),
                busy if self.tape.percent(ACT_FOR_BUSY_USER) => self.tape.one_of(busy),
                _ => self.tape.one_of(&holders),
            };
            return (user(name), connection(&item.connection));
        }
        if speaker != Speaker::NeverWas && !self.connections.is_empty() {
            let (number, name) = self.tape.one_of(&self.connections);
            return (user(format!("u{number}")), connection(name));
        }
        (user(format!("u{}", self.tape.below(USERS))), connection("ghost"))
    }

    fn any_message_id(&mut self) -> MessageId {
        let id = message_id(self.tape.below(MESSAGE_IDS) as u32);
        if self.tape.percent(IN_CAPITALS) {
            MessageId::parse(&id.as_str().to_uppercase()).expect("a message id")
        } else {
            id
        }
    }

    fn any_conversation(&mut self, user: &UserId) -> ConversationId {
        let number: Option<u32> = user.as_str().strip_prefix('u').and_then(|number| number.parse().ok());
        let choice = self.tape.below(ANYBODYS_CONVERSATION + OWN_CONVERSATION + NO_SUCH_CONVERSATION);
        match number.filter(|number| *number < USERS as u32) {
            _ if choice >= ANYBODYS_CONVERSATION + OWN_CONVERSATION => {
                ConversationId::parse("not-a-uuid").expect("a conversation id")
            }
            Some(user) if choice >= ANYBODYS_CONVERSATION => conversation(TALKS * user + choice as u32 % TALKS),
            _ => conversation(self.tape.below(TALKS as usize * USERS) as u32),
        }
    }

    /// Work of a worker or of the janitor.
    fn any_work(&mut self) -> Operation {
        let work = *self.tape.weighed(WORK);
        let wanted = |message: &&MessageItem| work != Work::Answer || !message.is_answered();
        let messages: Vec<_> = self.state.messages.values().filter(wanted).cloned().collect();
        if work == Work::Forget || messages.is_empty() {
            return Operation::Forget { user: user(format!("u{}", self.tape.below(USERS))) };
        }
        let message = self.tape.one_of(&messages).clone();
        let (user, id) = (user(&message.user), MessageId::parse(&message.id).expect("a message id"));
        if message.is_answered() && work == Work::Uncount {
            Operation::Uncount { user, id }
        } else {
            Operation::Answer { user, id, fails: self.tape.percent(FAILED_ANSWERS) }
        }
    }

    pub(super) fn any_time(&mut self) -> Duration {
        let now = self.now();
        let ends = self.state.users.values().map(|item| item.expires_at);
        let ends: Vec<_> =
            ends.chain(self.state.slots.values().map(|slot| slot.expires_at)).filter(|&end| end > now).collect();
        let until = |end: Timestamp| end.since(now);
        match self.tape.weighed(TIMES) {
            Time::Moment => MILLISECOND,
            Time::Seconds => Duration::from_millis(self.tape.below(3000) as u64),
            Time::UntilAnEnd if !ends.is_empty() => until(*self.tape.one_of(&ends)),
            Time::UntilBeforeAnEnd if !ends.is_empty() => until(*self.tape.one_of(&ends)).saturating_sub(MILLISECOND),
            Time::UntilAfterAnEnd if !ends.is_empty() => until(*self.tape.one_of(&ends)) + MILLISECOND,
            Time::ALease => self.stack.config.lease,
            Time::AFirstMessage => self.stack.config.first_message,
            Time::Long => LONG,
            Time::UntilAnEnd | Time::UntilBeforeAnEnd | Time::UntilAfterAnEnd | Time::Second => Duration::from_secs(1),
        }
    }

    pub(super) fn any_fate(&mut self, lane: usize) -> Fate {
        let held = self.running[lane].as_ref().and_then(|running| running.held.as_ref());
        let (items, write) = held.map_or((0, false), |held| (held.items, held.is_write()));
        let contended = self.running[lane].as_ref().is_some_and(|running| running.contended);
        if contended && write {
            return Fate::is(self.any_contention(items));
        }
        if !self.tape.percent(self.fault_percent) {
            return Fate::is(Fault::none());
        }
        let internal = || Heard::Instead(faults::internal_server_error());
        match self.tape.weighed(TROUBLES) {
            Trouble::Contention => Fate::is(self.any_contention(items)),
            Trouble::ErrorNotExecuted => Fate::is(Fault::dropped(internal())),
            Trouble::ErrorExecuted => Fate::is(Fault::lost(internal())),
            Trouble::BreakNotExecuted => Fate::is(Fault::dropped(Heard::Break)),
            Trouble::BreakExecuted => Fate::is(Fault::lost(Heard::Break)),
            Trouble::DeathAfter => Fate::is(Fault::lost(Heard::Nothing)),
            Trouble::DeathBefore => Fate { fault: None, contended_for_good: false },
            Trouble::ContentionForGood => Fate { contended_for_good: true, ..Fate::is(self.any_contention(items)) },
        }
    }

    /// "Later", in each of DynamoDB's words for it.
    fn any_contention(&mut self, items: usize) -> Fault {
        let answer: Answer = match self.tape.below(4) {
            0 | 1 if items > 0 => {
                let mut codes = vec!["None"; items];
                let at = self.tape.below(items);
                codes[at] = *self.tape.one_of(&["TransactionConflict", "ThrottlingError"]);
                // DynamoDB may not have evaluated the other conditions.
                if items > 1 && self.tape.percent(CONDITION_BESIDE_CONTENTION) {
                    let other = codes.iter().position(|code| *code == "None").unwrap_or(0);
                    codes[other] = "ConditionalCheckFailed";
                }
                faults::transaction_cancelled(&codes)
            }
            0 => faults::transaction_conflict(),
            2 => faults::throughput_exceeded(),
            _ => faults::throttled(),
        };
        Fault::refused(answer)
    }
}
